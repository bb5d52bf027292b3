/// The rows that one statement returned. Cells are converted when they are read.
public struct Rows: Sendable, RandomAccessCollection {
  let result: QueryResult

  public var startIndex: Int { 0 }
  public var endIndex: Int { result.rowCount }
  /// The row at `index`; one outside of the rows has NULL in every column.
  public subscript(index: Int) -> Row { Row(result: result, index: index) }

  /// The columns' names in order.
  public var columns: [String] { (0..<result.columnCount).map(result.name(ofColumn:)) }

  /// How many rows the statement inserted, changed, deleted or returned.
  public var affected: Int { result.affectedRows }
}

/// One row.
public struct Row: Sendable {
  let result: QueryResult
  let index: Int

  /// The column at `position` (from 0), as the type asked for: `let name: String = try row.get(0)`.
  public func get<Value: PostgresDecodable>(_ position: Int, as type: Value.Type = Value.self) throws(PostgresError)
    -> Value
  {
    guard position >= 0, position < result.columnCount else {
      throw PostgresError(.decode, "there is no column \(position); the row has \(result.columnCount)")
    }
    do {
      return try Value(postgres: result.cell(row: index, column: position))
    } catch {
      let name = result.name(ofColumn: position)
      throw PostgresError(.decode, "column \(name) (\(position)) cannot be read as \(Value.self): \(error.reason)")
    }
  }

  /// The first column of that name, as the type asked for.
  public func decode<Value: PostgresDecodable>(
    _ column: String, as type: Value.Type = Value.self
  ) throws(PostgresError) -> Value {
    guard let position = result.column(named: column) else {
      throw PostgresError(.decode, "there is no column \(column); the row has \(Rows(result: result).columns)")
    }
    return try get(position)
  }
}
