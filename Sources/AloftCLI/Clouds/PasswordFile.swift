/// A file that holds a password.
enum PasswordFile {
  static func read(_ path: String) async throws(CommandFailure) -> String {
    let bytes = try await LocalFile(path: path).read(limit: 4096, purpose: "the password")
    // Editors end a file with a line break; a password with one at its end cannot be typed anyway.
    return String(decoding: bytes.last == UInt8(ascii: "\n") ? bytes.dropLast() : bytes[...], as: UTF8.self)
  }
}
