import Foundation
import KVM

extension Benchmark {
  package func relate(_ tallies: [(bare: Tally, vmpool: Tally)], _ recorders: inout [CaseRecorder]) {}

  /// Runs it, on the calling thread. Cases take turns, so that the host's other work meets all of them alike. The side that
  /// begins changes from round to round. `version` is vmpool's.
  package func run(version: String, progress: (BenchmarkProgress) -> Void) throws(BenchmarkError) -> BenchmarkReport {
    let bed = try TestBed()
    let began = Date()
    let subjects = subjects
    var recorders = subjects.map { CaseRecorder($0) }
    let total = rounds * subjects.count
    for number in 0..<rounds {
      var tallies: [(bare: Tally, vmpool: Tally)] = []
      for (index, subject) in subjects.enumerated() {
        progress(BenchmarkProgress(done: number * subjects.count + index, total: total, next: subject))
        let tally = try round(subject, bed, bareFirst: number % 2 == 0)
        recorders[index].add(bare: tally.bare, vmpool: tally.vmpool)
        tallies.append(tally)
      }
      relate(tallies, &recorders)
    }
    progress(BenchmarkProgress(done: total, total: total, next: nil))
    return BenchmarkReport(
      schema: BenchmarkReport.schema, benchmark: Self.name, version: version,
      measuredAt: began.formatted(.iso8601), host: HostDescription(), isPinned: ProcessorPlacement.isPossible,
      settings: settings.merging(["rounds": rounds]) { own, _ in own },
      cases: recorders.map(\.result))
  }
}
