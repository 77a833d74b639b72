int placeholder_CBareKVM;
