extension JSONWriter {
  /// Appends a string in quotes, escaped, with no comma logic.
  @usableFromInline
  mutating func appendQuoted(_ text: String) {
    var text = text
    bytes.append(UInt8(ascii: "\""))
    text.withUTF8 { appendEscaped($0) }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func appendEscaped(_ text: UnsafeBufferPointer<UInt8>) {
    var runStart = 0
    var cursor = 0
    while cursor < text.count {
      // Eight bytes at a time while none of them needs an escape, which is nearly always.
      if cursor + 8 <= text.count {
        let word = UnsafeRawBufferPointer(text).loadUnaligned(fromByteOffset: cursor, as: UInt64.self)
        if !Self.needsEscape(word) {
          cursor += 8
          continue
        }
      }
      let byte = text[cursor]
      if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
        bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[runStart..<cursor]))
        appendEscape(byte)
        runStart = cursor + 1
      }
      cursor += 1
    }
    bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[runStart..<cursor]))
  }

  /// Whether any of eight bytes is below 0x20, a quote or a backslash (the classic "has a zero byte" trick, thrice).
  private static func needsEscape(_ word: UInt64) -> Bool {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let highs: UInt64 = 0x8080_8080_8080_8080
    let quote = word ^ (ones &* UInt64(UInt8(ascii: "\"")))
    let backslash = word ^ (ones &* UInt64(UInt8(ascii: "\\")))
    let control = (word &- ones &* 0x20) & ~word
    let zeroes = ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash)
    return (control | zeroes) & highs != 0
  }

  private mutating func appendEscape(_ byte: UInt8) {
    bytes.append(UInt8(ascii: "\\"))
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(byte)
    case 0x08: bytes.append(UInt8(ascii: "b"))
    case 0x0C: bytes.append(UInt8(ascii: "f"))
    case 0x0A: bytes.append(UInt8(ascii: "n"))
    case 0x0D: bytes.append(UInt8(ascii: "r"))
    case 0x09: bytes.append(UInt8(ascii: "t"))
    default:
      bytes.append(contentsOf: "u00".utf8)
      bytes.append(lowercaseHexDigit(byte >> 4))
      bytes.append(lowercaseHexDigit(byte & 0xF))
    }
  }

  mutating func appendUnsigned(_ value: UInt64) {
    var rest = value
    let start = bytes.count
    repeat {
      bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
      rest /= 10
    } while rest > 0
    var low = start
    var high = bytes.count - 1
    while low < high {
      bytes.swapAt(low, high)
      low += 1
      high -= 1
    }
  }
}

/// The lower-case hexadecimal digit of 0…15.
func lowercaseHexDigit(_ value: UInt8) -> UInt8 {
  value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value
}
