import Logging

extension Environment {
  /// Does something again and again until cancelled, each time behind a pause. What fails is told in the log and done again.
  func repeating(
    every pause: Duration, orWarn warning: Logger.Message, _ logger: Logger, _ step: () async throws -> Void
  ) async {
    while !Task.isCancelled {
      do {
        try await sleep(pause)
        try await step()
      } catch is CancellationError {
        return
      } catch {
        logger.warning(warning, metadata: ["error": "\(error)"])
      }
    }
  }
}
