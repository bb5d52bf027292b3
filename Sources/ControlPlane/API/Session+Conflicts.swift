import AloftModel
import Postgres

extension Session {
  /// Runs a statement. `refusal` says what the caller gets where the server's refusal is the caller's doing; nil: it is not.
  func execute(_ sql: SQL, refusal: (PostgresError) -> Problem?) throws {
    do throws(PostgresError) {
      try execute(sql)
    } catch {
      throw refusal(error) ?? error
    }
  }

  /// Runs a statement; where it breaks the named unique constraint, the caller gets `problem`.
  func execute(_ sql: SQL, unique constraint: String, else problem: Problem) throws {
    try execute(sql) { error in error.isUniqueViolation(constraint) ? problem : nil }
  }
}
