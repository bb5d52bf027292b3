import AloftModel
import Postgres

extension Session {
  /// Runs a statement; where it breaks the named unique constraint, the caller gets `problem`.
  func execute(_ sql: SQL, unique constraint: String, else problem: Problem) throws {
    do throws(PostgresError) {
      try execute(sql)
    } catch {
      if error.isUniqueViolation(constraint) { throw problem }
      throw error
    }
  }
}
