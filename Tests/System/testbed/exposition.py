"""What a server says under /metrics."""
from prometheus_client.parser import text_string_to_metric_families

from testbed.checks import equal


class Exposition:
    """The samples by name and labels."""

    def __init__(self, text):
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    @classmethod
    def of(cls, client, path="/metrics"):
        answer = client.get(path)
        equal(answer.status, 200, path)
        return cls(answer.text)

    def counters(self):
        """All that may only grow, histograms included."""
        for family in self.families:
            if family.type in ("counter", "histogram"):
                for sample in family.samples:
                    yield (sample.name, tuple(sorted(sample.labels.items()))), sample.value

    def total(self, name, **labels):
        """The sum over all series of that name with those labels."""
        return sum(
            value
            for (found, series), value in self.samples.items()
            if found == name and labels.items() <= dict(series).items()
        )
