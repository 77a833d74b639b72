import Testing

@testable import Benchmarks

@Suite struct ReportCSVTests {
  @Test func holdsEveryFigureOnALineOfItsOwn() {
    let csv = SampleReport.report([SampleReport.item(rounds: [[10, 20], [30]], lost: 1)]).csv
    let lines = csv.split(separator: "\r\n", omittingEmptySubsequences: false)
    #expect(lines.last == "")
    #expect(
      lines.first
        == "benchmark,version,kernel,mechanism,guest,kickers,vcpus,memory_mib,dirty_pages,side,figure,statistic,value")
    let kernel = HostDescription().kernel
    let head = "kick,1.2.3,\(kernel),immediate_exit,spin,1,1,,"
    for line in [
      "bare,latency_ns,p50,20", "vmpool,latency_ns,count,3", "vmpool,latency_ns,p99.9,30", "vmpool,latency_ns,max,30",
      "vmpool,lost,count,2", "bare,lost,count,0", "ratio,latency_p50,median,1.0",
    ] {
      #expect(lines.contains { $0 == "\(head),\(line)" }, "\(line) is missing")
    }
    // Two sides of 6 statistics and 2 counts, two ratios of 5 numbers.
    #expect(lines.count == 1 + 2 * (6 + 2) + 2 * 5 + 1)
    #expect(lines.dropLast().allSatisfy { $0.split(separator: ",", omittingEmptySubsequences: false).count == 13 })
  }

  @Test func quotesWhatWouldBreakALine() {
    var report = SampleReport.report([SampleReport.item(rounds: [[1]])])
    report.host.kernel = "6.1, \"patched\"\r\n"
    #expect(report.csv.unicodeScalars.split(separator: "\"").count > 1)
    #expect(report.csv.contains(",\"6.1, \"\"patched\"\"\r\n\","))
  }
}
