/// camelCase ↔ snake_case. Names are short ASCII; most need no conversion and come back as they are.
enum KeyNaming {
  /// `memoryMib` → `memory_mib`, `sourceURLPath` → `source_url_path`; names without capitals are unchanged.
  static func snakeCase(_ name: String) -> String {
    guard name.utf8.contains(where: isUppercase) else { return name }
    let source = Array(name.utf8)
    var result: [UInt8] = []
    result.reserveCapacity(source.count + 4)
    for (position, byte) in source.enumerated() {
      guard isUppercase(byte) else {
        result.append(byte)
        continue
      }
      // A word starts at a capital after a small letter, and at the last capital of a run that a small letter follows.
      let afterSmall = position > 0 && !isUppercase(source[position - 1]) && source[position - 1] != UInt8(ascii: "_")
      let beforeSmall =
        position > 0 && isUppercase(source[position - 1]) && position + 1 < source.count
        && isLowercase(source[position + 1])
      if afterSmall || beforeSmall { result.append(UInt8(ascii: "_")) }
      result.append(byte | 0x20)
    }
    return String(decoding: result, as: UTF8.self)
  }

  /// `memory_mib` → `memoryMib`.
  static func camelCase(_ name: String) -> String {
    let words = name.split(separator: "_")
    guard words.count > 1, let first = words.first, name.utf8.first != UInt8(ascii: "_") else { return name }
    return words.dropFirst().reduce(into: String(first)) { $0 += $1.prefix(1).uppercased() + $1.dropFirst() }
  }

  private static func isUppercase(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "A") < 26 }
  private static func isLowercase(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "a") < 26 }
}
