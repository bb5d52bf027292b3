import Foundation
import PostgresTestSupport
import TestSupport
import Testing

extension EndToEnd {
  /// `aloftd bootstrap` and `aloftd token create`, as processes.
  @Suite(.timeLimit(.minutes(5)))
  struct BootstrapTests {
    @Test("bootstrap prints a token once, and from then on exits with 1 and says who is admin")
    func bootstrap() async throws {
      let postgres = try await PostgresServer.start()
      let database = try await postgres.createDatabase()
      func aloftd(_ arguments: String...) async throws -> String {
        try await run(
          ["env", "ALOFT_DATABASE_URL=\(database)", "ALOFT_LOG_LEVEL=warning", "\(Daemon.programs)/aloftd"] + arguments)
      }
      let outcome: Result<Void, any Error>
      do {
        _ = try await aloftd("migrate")
        let secret = try await aloftd("bootstrap", "--name", "ada")
        #expect(secret.wholeMatch(of: #/aloft_[0-9a-f]{72}\n/#) != nil)
        let refusal = await #expect(throws: CommandFailure.self) { try await aloftd("bootstrap", "--name", "bob") }
        #expect(refusal?.status == 1 && refusal?.output.contains("this cloud has an admin, ada") == true)
        #expect(try await aloftd("token", "create").wholeMatch(of: #/aloft_[0-9a-f]{72}\n/#) != nil)
        outcome = .success(())
      } catch {
        outcome = .failure(error)
      }
      await postgres.stop()
      try outcome.get()
    }
  }
}
