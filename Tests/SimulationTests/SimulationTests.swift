import Foundation
import NodeAgent
import Testing

private let settings = ProcessInfo.processInfo.environment
/// How many histories; `make sim SEEDS=200` asks for more.
private let seeds = settings["ALOFT_SIM_SEEDS"].flatMap { UInt64($0) } ?? 36
private let first = settings["ALOFT_SIM_FIRST"].flatMap { UInt64($0) } ?? 1
/// One history only, with its whole trace.
private let only = settings["ALOFT_SIM_SEED"].flatMap { UInt64($0) }

@Suite("Whole cloud in virtual time", .serialized)
struct SimulationTests {
  @Test("whatever users do and whatever breaks, everything comes to rest as it was asked for")
  func histories() async throws {
    let started = ContinuousClock.now
    let wanted = only.map { [$0] } ?? Array(first..<(first + seeds))
    let reports = try await Laboratory.with { laboratory in
      try await run(wanted, in: laboratory)
    }
    let summary = Summary(reports)
    print(summary.text(took: ContinuousClock.now - started))
    if wanted.count >= 30 {
      #expect(summary.missing.isEmpty, "never happened in \(wanted.count) histories: \(summary.missing)")
    }
  }

  @Test("the same seed gives the same history", .enabled(if: only == nil))
  func repeatable() async throws {
    let hashes = try await Laboratory.with { laboratory in
      try await [4, 4].asyncMap { try await Simulation.run(seed: $0, in: laboratory).hash }
    }
    #expect(hashes[0] == hashes[1])
  }

  @Test("a report that arrives after it was given up does not stand as the last word", .enabled(if: only == nil))
  func lateReport() async throws {
    let history = History(seed: 2011, hasNetworks: false)
    let report = try await Laboratory.with { laboratory in try await Simulation.run(history, in: laboratory) }
    #expect(report.failures.isEmpty, "\(report.explanation)")
  }

  /// As many at a time as there are processors.
  private func run(_ seeds: [UInt64], in laboratory: Laboratory) async throws -> [Simulation.Report] {
    try await withThrowingTaskGroup(of: Simulation.Report.self) { group in
      var waiting = seeds[...]
      var reports: [Simulation.Report] = []
      let atOnce = max(2, ProcessInfo.processInfo.activeProcessorCount)
      for _ in 0..<atOnce {
        if let seed = waiting.popFirst() {
          group.addTask { try await Simulation.run(seed: seed, in: laboratory, isLoud: only != nil) }
        }
      }
      while let report = try await group.next() {
        reports.append(report)
        if !report.failures.isEmpty { Issue.record(Comment(rawValue: report.explanation)) }
        if let seed = waiting.popFirst() {
          group.addTask { try await Simulation.run(seed: seed, in: laboratory) }
        }
      }
      return reports.sorted { $0.seed < $1.seed }
    }
  }
}

extension Array {
  /// One after the other.
  func asyncMap<Value>(_ body: (Element) async throws -> Value) async rethrows -> [Value] {
    var values: [Value] = []
    for element in self { values.append(try await body(element)) }
    return values
  }
}
