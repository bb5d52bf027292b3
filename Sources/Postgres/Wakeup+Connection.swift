import Execution

extension Wakeup {
  /// A wake-up for a connection's thread.
  static func forConnection() throws(PostgresError) -> Wakeup {
    do throws(Failure) { return try Wakeup() } catch {
      throw PostgresError(.connectFailed, "no file descriptors are left (errno \(error.errno))")
    }
  }
}
