import CPostgres
import Glibc

/// Owns one `PGresult`.
///
/// `@unchecked Sendable`: libpq never changes a result once it is complete, and all functions used here only read it.
final class QueryResult: @unchecked Sendable {
  let handle: OpaquePointer
  let rowCount: Int
  let columnCount: Int

  init(_ handle: OpaquePointer) {
    self.handle = handle
    rowCount = Int(PQntuples(handle))
    columnCount = Int(PQnfields(handle))
  }

  deinit { PQclear(handle) }

  var status: ExecStatusType { PQresultStatus(handle) }

  /// `COMMIT`, `INSERT 0 1` …
  var commandTag: String { PQcmdStatus(handle).map { String(cString: $0) } ?? "" }

  var affectedRows: Int { PQcmdTuples(handle).flatMap { Int(String(cString: $0)) } ?? 0 }

  func name(ofColumn column: Int) -> String {
    PQfname(handle, Int32(column)).map { String(cString: $0) } ?? "?"
  }

  /// The index of the first column of that exact name.
  func column(named name: String) -> Int? {
    name.withCString { wanted in
      (0..<Int32(columnCount)).first { column in PQfname(handle, column).map { strcmp($0, wanted) == 0 } ?? false }
    }.map(Int.init)
  }

  func cell(row: Int, column: Int) -> PostgresCell {
    let (row, column) = (Int32(row), Int32(column))
    guard PQgetisnull(handle, row, column) == 0, let text = PQgetvalue(handle, row, column) else {
      return PostgresCell(owner: self, bytes: nil)
    }
    let bytes = UnsafeRawPointer(text).assumingMemoryBound(to: UInt8.self)
    return PostgresCell(owner: self, bytes: .init(start: bytes, count: Int(PQgetlength(handle, row, column))))
  }

  /// The error that the server reported as this result.
  var error: PostgresError {
    let state = field(Field.sqlState).map(SQLState.init(rawValue:))
    let words = field(Field.message) ?? PQresultErrorMessage(handle).map { String(cString: $0) } ?? ""
    var report = PostgresError.Report()
    report.schema = field(Field.schema)
    report.table = field(Field.table)
    report.column = field(Field.column)
    report.constraint = field(Field.constraint)
    report.dataType = field(Field.dataType)
    report.detail = field(Field.detail)
    report.hint = field(Field.hint)
    report.routine = field(Field.routine)
    report.message = words.trimmedLine
    guard let state else { return PostgresError(.connectionLost, words.trimmedLine, report: report) }
    let kind: PostgresError.Kind =
      switch state {
      case .queryCanceled: .timeout
      case _ where state.endsSession: .connectionLost
      default: .server(state)
      }
    // Messages of class 22 ("invalid input syntax for type integer: …") quote the value.
    let message = state.errorClass == "22" ? "a value was refused (data exception)" : report.message
    return PostgresError(kind, message, sqlState: state, report: report)
  }

  private func field(_ code: Int32) -> String? {
    PQresultErrorField(handle, code).map { String(cString: $0) }
  }

  /// `PG_DIAG_*` of postgres_ext.h: character macros, which Swift does not import as integers.
  private enum Field {
    static let sqlState = Int32(UInt8(ascii: "C"))
    static let message = Int32(UInt8(ascii: "M"))
    static let detail = Int32(UInt8(ascii: "D"))
    static let hint = Int32(UInt8(ascii: "H"))
    static let schema = Int32(UInt8(ascii: "s"))
    static let table = Int32(UInt8(ascii: "t"))
    static let column = Int32(UInt8(ascii: "c"))
    static let dataType = Int32(UInt8(ascii: "d"))
    static let constraint = Int32(UInt8(ascii: "n"))
    static let routine = Int32(UInt8(ascii: "R"))
  }
}

extension String {
  /// libpq ends its messages with line breaks and puts several attempts on several lines.
  var trimmedLine: String {
    split(whereSeparator: \.isNewline).joined(separator: "; ")
  }
}
