import FoundationEssentials

extension String: JSONWritable {
  public func write(to writer: inout JSONWriter) {
    writer.separate()
    writer.appendQuoted(self)
    writer.needsComma = true
  }
}

extension Bool: JSONWritable {
  public func write(to writer: inout JSONWriter) { writer.raw(self ? "true" : "false") }
}

extension JSONWritable where Self: BinaryInteger {
  /// Writes the number in decimal; values beyond 64 bits do not occur among the conforming types.
  public func write(to writer: inout JSONWriter) {
    writer.separate()
    if self < 0 { writer.bytes.append(UInt8(ascii: "-")) }
    writer.appendUnsigned(UInt64(truncatingIfNeeded: magnitude))
    writer.needsComma = true
  }
}

extension Int: JSONWritable {}
extension Int8: JSONWritable {}
extension Int16: JSONWritable {}
extension Int32: JSONWritable {}
extension Int64: JSONWritable {}
extension UInt: JSONWritable {}
extension UInt8: JSONWritable {}
extension UInt16: JSONWritable {}
extension UInt32: JSONWritable {}
extension UInt64: JSONWritable {}

extension Double: JSONWritable {
  /// Writes the shortest text that reads back as the same number; NaN and infinities, which JSON lacks, as `null`.
  public func write(to writer: inout JSONWriter) {
    writer.raw(isFinite ? description : "null")
  }
}

extension Float: JSONWritable {
  public func write(to writer: inout JSONWriter) { writer.raw(isFinite ? description : "null") }
}

extension Date: JSONWritable {
  /// Writes an RFC 3339 time in UTC with milliseconds.
  public func write(to writer: inout JSONWriter) {
    writer.separate()
    writer.bytes.append(UInt8(ascii: "\""))
    RFC3339.append(self, to: &writer.bytes)
    writer.bytes.append(UInt8(ascii: "\""))
    writer.needsComma = true
  }
}

extension UUID: JSONWritable {
  /// Writes the lower-case form that RFC 9562 asks for.
  public func write(to writer: inout JSONWriter) {
    writer.separate()
    writer.bytes.append(UInt8(ascii: "\""))
    withUnsafeBytes(of: uuid) { octets in
      for (position, octet) in octets.enumerated() {
        if position == 4 || position == 6 || position == 8 || position == 10 {
          writer.bytes.append(UInt8(ascii: "-"))
        }
        writer.bytes.append(lowercaseHexDigit(octet >> 4))
        writer.bytes.append(lowercaseHexDigit(octet & 0xF))
      }
    }
    writer.bytes.append(UInt8(ascii: "\""))
    writer.needsComma = true
  }
}

extension JSONValue: JSONWritable {
  public func write(to writer: inout JSONWriter) {
    switch self {
    case .null: writer.writeNull()
    case .bool(let value): value.write(to: &writer)
    case .integer(let value): value.write(to: &writer)
    case .number(let value): value.write(to: &writer)
    case .string(let value): value.write(to: &writer)
    case .array(let value): value.write(to: &writer)
    case .object(let value): value.write(to: &writer)
    }
  }
}

extension JSONObject: JSONWritable {
  public func write(to writer: inout JSONWriter) {
    writer.beginObject()
    for member in self { writer.field(member.key, member.value) }
    writer.endObject()
  }
}

extension Array: JSONWritable where Element: JSONWritable {
  public func write(to writer: inout JSONWriter) {
    writer.beginArray()
    for element in self { element.write(to: &writer) }
    writer.endArray()
  }
}

extension Dictionary: JSONWritable where Key == String, Value: JSONWritable {
  /// Members come sorted by name, so that equal dictionaries give equal bytes.
  public func write(to writer: inout JSONWriter) {
    writer.beginObject()
    for (name, value) in sorted(by: { $0.key < $1.key }) { writer.field(name, value) }
    writer.endObject()
  }
}

extension Optional: JSONWritable where Wrapped: JSONWritable {
  /// Nil is written as `null`.
  public func write(to writer: inout JSONWriter) {
    if let value = self { value.write(to: &writer) } else { writer.writeNull() }
  }
}

extension JSONWritable where Self: RawRepresentable, RawValue: JSONWritable {
  public func write(to writer: inout JSONWriter) { rawValue.write(to: &writer) }
}
