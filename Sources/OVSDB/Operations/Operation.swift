import FoundationEssentials

/// One step of a transaction (RFC 7047, 5.2). The steps of one transaction happen all or not at all.
public enum Operation: Sendable, Hashable {
  /// How an inserted row gets its identity.
  public enum NewRow: Sendable, Hashable {
    /// The server chooses.
    case unnamed
    /// The server chooses; other operations of the transaction refer to the row by `Atom.namedUUID` of this name, which
    /// is made of letters, digits and underscores.
    case named(String)
    /// This identity (Open vSwitch 3.0 or newer). A second insert of it fails with `duplicateUUID`, so that a
    /// transaction of unknown outcome can be repeated.
    case identified(UUID)
  }

  /// What a `wait` waits for.
  public enum Until: String, Sendable { case equal = "==", notEqual = "!=" }

  /// Columns that are left out get their defaults. A row of a table that is no root, and that nothing refers to at the
  /// end of the transaction, is gone at once.
  case insert(table: String, row: Row, as: NewRow = .unnamed)
  /// All columns when `columns` is nil.
  case select(table: String, where: [Condition], columns: [String]? = nil)
  case update(table: String, where: [Condition], row: Row)
  case mutate(table: String, where: [Condition], mutations: [Mutation])
  case delete(table: String, where: [Condition])
  /// Waits until the columns of the matching rows are (or are not) these. With a timeout of 0, in milliseconds, it is a
  /// precondition: it fails with `timedOut` if it does not hold now. Nil waits without end.
  case wait(
    table: String, where: [Condition], columns: [String], until: Until, rows: [Row], timeoutMilliseconds: Int64? = 0)
  /// Undoes the transaction, which fails with `aborted`.
  case abort
  /// For the server's log.
  case comment(String)
  /// Fails with `notOwner` unless this connection holds the lock.
  case assert(lock: String)
}

/// What one operation of a transaction that was committed has done.
public enum OperationResult: Sendable, Hashable {
  /// `wait`, `comment`, `assert`.
  case done
  /// The identity of the new row.
  case inserted(UUID)
  /// How many rows matched `update`, `mutate`, `delete`.
  case count(Int)
  case rows([Row])

  public var insertedRow: UUID? { if case .inserted(let id) = self { id } else { nil } }
  public var matchedCount: Int? { if case .count(let count) = self { count } else { nil } }
  public var selectedRows: [Row]? { if case .rows(let rows) = self { rows } else { nil } }
}
