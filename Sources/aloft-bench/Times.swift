import AloftModel
import Execution

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

/// Collects durations and says their percentiles.
final class Times: Sendable {
  private let values = Lock<[Double]>([])

  func add(_ duration: Duration) { values.withLock { $0.append(duration.seconds * 1000) } }

  /// Prints `NAME_p50` and `NAME_p99` in milliseconds.
  func report(_ name: String) {
    let sorted = values.withLock { $0 }.sorted()
    guard let last = sorted.last else { return }
    print("\(name)_p50 \(sorted[sorted.count / 2])")
    print("\(name)_p99 \(sorted.count > 100 ? sorted[sorted.count * 99 / 100] : last)")
  }
}

/// When the agents had their first effect for each machine.
final class StartTimes: Sendable {
  private let instants = Lock<[VMID: ContinuousClock.Instant]>([:])

  func note(_ vm: VMID) {
    let now = ContinuousClock.now
    instants.withLock { instants in
      if instants[vm] == nil { instants[vm] = now }
    }
  }

  /// Waits for it, at most 30 seconds.
  func first(of vm: VMID) async throws -> ContinuousClock.Instant {
    let deadline = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < deadline {
      if let instant = instants.withLock({ $0[vm] }) { return instant }
      try await Task.sleep(for: .milliseconds(1))
    }
    throw BenchFailure("no agent began with \(vm) in 30 s")
  }
}

/// Why there is no figure.
struct BenchFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
