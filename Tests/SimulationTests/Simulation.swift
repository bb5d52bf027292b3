import NodeAgent

/// Runs histories.
enum Simulation {
  /// What came of one history.
  struct Report: Sendable {
    var seed: UInt64
    var hash: UInt64
    var steps: Int
    var virtualMilliseconds: Int
    var counts: [String: Int]
    var failures: [String]
    var lastLines: [String]

    /// For whoever has to find the fault.
    var explanation: String {
      """
      seed \(seed) failed; `make sim SEED=\(seed)` shows all of it.
      \(lastLines.joined(separator: "\n"))
      \(failures.joined(separator: "\n"))
      """
    }
  }

  /// Runs the history of a seed: the bad days, then a rest, then the invariants.
  static func run(seed: UInt64, in laboratory: Laboratory, isLoud: Bool = false) async throws -> Report {
    try await run(History(seed: seed), in: laboratory, isLoud: isLoud)
  }

  static func run(_ history: History, in laboratory: Laboratory, isLoud: Bool = false) async throws -> Report {
    let url = try await laboratory.makeDatabase()
    let world = try World(history, laboratory, url: url, isLoud: isLoud)
    do { try await play(world) } catch { world.fail("the history broke off: \(error)") }
    await world.shutDown()
    try await laboratory.drop(url)
    return report(world)
  }

  private static func play(_ world: World) async throws {
    try await world.setUp()
    let length = world.history.moments.reduce(2_000) { $0 + $1.after }
    _ = try await world.run(until: length)
    // A very bad time lasts to its end: operations reach their deadlines in it.
    let now = world.clock.now().uptime
    if let end = world.heals.map(\.at).max(), end > now + 60_000 { _ = try await world.run(until: end) }
    guard world.failures.isEmpty else { return }
    try world.heal()
    let isQuiet = try await world.run(until: world.clock.now().uptime + World.patience) {
      try await world.unrest().isEmpty
    }
    guard world.failures.isEmpty else { return }
    guard isQuiet else {
      for line in try await world.unrest() { world.fail("not at rest: \(line)") }
      return
    }
    // What was at rest stays so.
    _ = try await world.run(until: world.clock.now().uptime + 30_000)
    for line in try await world.unrest() { world.fail("at rest no more: \(line)") }
    try await world.checkEnd()
  }

  private static func report(_ world: World) -> Report {
    var counts = world.trace.counts
    for node in world.nodes {
      counts.merge(node.host.counts) { $0 + $1 }
      counts.merge(node.lossy.counts) { $0 + $1 }
    }
    return Report(
      seed: world.history.seed, hash: world.trace.hash, steps: world.steps,
      virtualMilliseconds: world.clock.now().uptime, counts: counts, failures: world.failures,
      lastLines: world.trace.lastLines)
  }
}
