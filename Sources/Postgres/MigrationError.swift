/// Why the schema was not brought up to date.
public enum MigrationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The directory cannot be read.
  case unreadable(path: String)
  /// A file's name is not `NNNN_what.sql`.
  case badName(String)
  /// Two files have the same number.
  case duplicate(number: Int, files: [String])
  /// An applied migration's file has another content now. Restore the file; a change is a new migration.
  case changed(file: String)
  /// An applied migration has no file: this program is older than the schema, or the file was removed.
  case missing(number: Int, name: String)
  /// A file is not applied although a later one is: its number must be higher.
  case outOfOrder(file: String, applied: Int)
  /// The script ended the transaction it runs in.
  case endsTransaction(file: String)
  /// The server refused the script. `problem` is the server's message, with the line.
  case failed(file: String, sqlState: SQLState?, problem: String)

  public var description: String {
    switch self {
    case .unreadable(let path): "the migrations at \(path) cannot be read"
    case .badName(let file): "\(file) is not named like a migration: NNNN_what.sql"
    case .duplicate(let number, let files):
      "migration \(number) exists more than once: \(files.joined(separator: ", "))"
    case .changed(let file):
      "\(file) was applied with another content; restore it and put the change into a new migration"
    case .missing(let number, let name):
      "migration \(number) (\(name)) is applied but has no file; is this program older than the schema?"
    case .outOfOrder(let file, let applied):
      "\(file) is not applied although \(applied) is; give it a higher number"
    case .endsTransaction(let file): "\(file) must not contain COMMIT or ROLLBACK: it runs in a transaction"
    case .failed(let file, let state, let problem): "\(file): \(problem)\(state.map { " (\($0))" } ?? "")"
    }
  }
}
