extension Session {
  /// Inserts many rows with COPY, which takes a fraction of the time of INSERTs. Returns how many went in.
  ///
  /// `rows` is read as it is sent, one row at a time; every row has one value per column.
  @discardableResult
  public func copyIn(
    table: String, schema: String? = nil, columns: [String], rows: some Sequence<[any PostgresEncodable]>
  ) throws -> Int {
    if !prefix.isEmpty { _ = try flushPrefix() }
    let name = (schema.map { SQL.quote(identifier: $0) + "." } ?? "") + SQL.quote(identifier: table)
    let list = columns.map(SQL.quote(identifier:)).joined(separator: ", ")
    var iterator = rows.makeIterator()
    let statement = "COPY \(name) (\(list)) FROM STDIN"
    let outcome: Result<Int, any Error> = try send(ends: false) { () throws(PostgresError) in
      do {
        return .success(
          try connection.copy(statement) { try CopyText.next(piece: &iterator, columns: columns.count) })
      } catch let error as PostgresError {
        throw error
      } catch {
        return .failure(error)
      }
    }
    return try outcome.get()
  }

  private func flushPrefix() throws(PostgresError) -> [Rows] {
    let waiting = prefix
    prefix = []
    return try pipeline(waiting)
  }
}

/// COPY's text format (PostgreSQL documentation, COPY, "Text Format").
enum CopyText {
  /// As many rows as fill about 64 KiB; nil at the end.
  static func next(
    piece rows: inout some IteratorProtocol<[any PostgresEncodable]>, columns: Int
  ) throws(PostgresError) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(66_000)
    while bytes.count < 65_536, let row = rows.next() {
      guard row.count == columns else {
        throw PostgresError(.encode, "a row has \(row.count) values for \(columns) columns")
      }
      for (index, value) in row.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: "\t")) }
        try append(value.postgresValue, to: &bytes)
      }
      bytes.append(UInt8(ascii: "\n"))
    }
    return bytes.isEmpty ? nil : bytes
  }

  private static func append(_ value: PostgresValue, to bytes: inout [UInt8]) throws(PostgresError) {
    let backslash = UInt8(ascii: "\\")
    switch value {
    case .null: bytes += [backslash, UInt8(ascii: "N")]
    case .bytes(let data):
      let digits = Array("0123456789abcdef".utf8)
      bytes += [backslash, backslash, UInt8(ascii: "x")]
      for byte in data { bytes += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
    case .text(let text):
      for byte in text.utf8 {
        switch byte {
        case 0: throw PostgresError(.encode, "a text value holds a NUL character, which PostgreSQL cannot take")
        case UInt8(ascii: "\n"): bytes += [backslash, UInt8(ascii: "n")]
        case UInt8(ascii: "\r"): bytes += [backslash, UInt8(ascii: "r")]
        case UInt8(ascii: "\t"): bytes += [backslash, UInt8(ascii: "t")]
        case backslash: bytes += [backslash, backslash]
        default: bytes.append(byte)
        }
      }
    }
  }
}

extension Session {
  /// Runs several statements without values, separated by semicolons, by the simple protocol.
  func script(_ text: String) throws(PostgresError) {
    if !prefix.isEmpty { _ = try flushPrefix() }
    try send(ends: false) { () throws(PostgresError) in try connection.runScript(text) }
  }
}
