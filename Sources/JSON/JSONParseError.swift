/// Why a text is not acceptable JSON, and where.
public struct JSONParseError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What kind of fault it is; closed, so that callers may switch on it.
  public enum Code: String, Sendable, CaseIterable {
    case syntax, unexpectedEnd, trailingGarbage, depthExceeded, duplicateKey, invalidUTF8, invalidEscape,
      loneSurrogate, controlCharacter, invalidNumber, numberOutOfRange, byteOrderMark
  }

  /// What kind of fault it is.
  public let code: Code
  /// Bytes from the start of the text.
  public let offset: Int
  /// Line, from 1.
  public let line: Int
  /// Column in bytes, from 1.
  public let column: Int
  /// What is wrong and what would be right; lower case, without the position.
  public let message: String

  init(_ code: Code, at offset: Int, in bytes: [UInt8], _ message: String) {
    self.code = code
    self.offset = offset
    self.message = message
    var line = 1
    var lineStart = 0
    for (position, byte) in bytes.prefix(offset).enumerated() where byte == 0x0A {
      line += 1
      lineStart = position + 1
    }
    self.line = line
    self.column = offset - lineStart + 1
  }

  public var description: String { "line \(line), column \(column) (byte \(offset)): \(message)" }
}
