/// Shows how many bytes of a file are done: a bar on a terminal, otherwise a line every ten per cent.
struct TransferMeter: Sendable {
  private let surroundings: Surroundings

  init(_ surroundings: Surroundings) { self.surroundings = surroundings }

  /// Runs `body` and shows what it reports. Reports may come from any thread and never wait for the terminal: of those
  /// that come while a line is written only the newest is shown.
  func measure<Value: Sendable>(
    _ title: String,
    _ body:
      @Sendable (@escaping @Sendable (_ done: Int64, _ total: Int64) -> Void) async throws(CommandFailure) -> Value
  ) async throws(CommandFailure) -> Value {
    let (reports, continuation) = AsyncStream.makeStream(
      of: (done: Int64, total: Int64).self, bufferingPolicy: .bufferingNewest(1))
    let line = ProgressLine(surroundings)
    let start = surroundings.uptime()
    let isTerminal = surroundings.errors.isTerminal
    let uptime = surroundings.uptime
    let shower = Task {
      for await (done, total) in reports {
        let percent = total > 0 ? Int(Double(done) / Double(total) * 100) : 100
        guard isTerminal else {
          await line.show("\(title): \(percent / 10 * 10)% of \(Figures.bytes(total))")
          continue
        }
        let seconds = max(0.001, (uptime() - start) / .seconds(1))
        await line.show(
          "\(title) \(Self.bar(percent)) \(percent)% \(Figures.bytes(done)) of \(Figures.bytes(total))",
          suffix: "\(Figures.bytes(Int64(Double(done) / seconds)))/s")
      }
      await line.clear()
    }
    let outcome: Result<Value, CommandFailure>
    do throws(CommandFailure) {
      outcome = .success(try await body { done, total in continuation.yield((done, total)) })
    } catch {
      outcome = .failure(error)
    }
    continuation.finish()
    await shower.value
    return try outcome.get()
  }

  static func bar(_ percent: Int) -> String {
    let filled = max(0, min(20, percent / 5))
    return "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: 20 - filled) + "]"
  }
}
