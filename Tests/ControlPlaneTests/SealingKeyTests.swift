import ControlPlane
import Foundation
import Testing

@Suite("Sealing key")
struct SealingKeyTests {
  private let secret = Array("the authority's private key".utf8)

  @Test("what was sealed is opened for its purpose and its subject, and for nothing else")
  func bound() throws {
    let key = try SealingKey(SealingKey.generate())
    let sealed = try key.seal(secret, for: .authorityKey, of: "a")
    #expect(try key.open(sealed, for: .authorityKey, of: "a") == secret)
    #expect(throws: SealingKey.Failure.notAuthentic) { try key.open(sealed, for: .webhookSecret, of: "a") }
    #expect(throws: SealingKey.Failure.notAuthentic) { try key.open(sealed, for: .authorityKey, of: "b") }
    // The same is never sealed the same way twice.
    #expect(try key.seal(secret, for: .authorityKey, of: "a") != sealed)
  }

  @Test("a sealed value that was changed anywhere, or cut off, is refused")
  func changed() throws {
    let key = try SealingKey(SealingKey.generate())
    let sealed = try key.seal(secret, for: .authorityKey, of: "a")
    for index in sealed.indices {
      var other = sealed
      other[index] ^= 1
      #expect(throws: SealingKey.Failure.self, "byte \(index)") { try key.open(other, for: .authorityKey, of: "a") }
      #expect(throws: SealingKey.Failure.self, "\(index) bytes") {
        try key.open(Array(sealed.prefix(index)), for: .authorityKey, of: "a")
      }
    }
  }

  @Test("of several keys the newest seals and all open; one that is gone is named by its id")
  func rotation() throws {
    let (old, new) = (SealingKey.generate(), SealingKey.generate())
    let before = try SealingKey(old)
    let both = try SealingKey("# newest first\n\(new)\n\n\(old)\n")
    let after = try SealingKey(new)
    let sealed = try before.seal(secret, for: .webhookSecret, of: "w")
    #expect(try both.open(sealed, for: .webhookSecret, of: "w") == secret)
    #expect(before.isCurrent(sealed) && !both.isCurrent(sealed))
    let anew = try both.seal(secret, for: .webhookSecret, of: "w")
    #expect(both.isCurrent(anew))
    #expect(try after.open(anew, for: .webhookSecret, of: "w") == secret)
    #expect(throws: SealingKey.Failure.unknownKey(id: before.ids[0])) {
      try after.open(sealed, for: .webhookSecret, of: "w")
    }
    #expect(try SealingKey("\(new), \(old)").ids == both.ids)
  }

  @Test(
    "what is no key is refused with words that do not quote it",
    arguments: ["", "# nothing", "c2hvcnQ=", "not base64!", String(repeating: "A", count: 44)])
  func malformed(_ text: String) throws {
    #expect(throws: SealingKey.Failure.malformed(place: "ALOFT_SEALING_KEY")) {
      try SealingKey(text, place: "ALOFT_SEALING_KEY")
    }
    let said = SealingKey.Failure.malformed(place: "ALOFT_SEALING_KEY").description
    #expect(said.contains("openssl rand -base64 32"))
  }

  @Test("a key file that others can read or its group can change is refused, and the refusal says what mends it")
  func mode() throws {
    let path = NSTemporaryDirectory() + "aloft-sealing-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let key = SealingKey.generate()
    try (key + "\n").write(toFile: path, atomically: false, encoding: .utf8)
    func read(_ mode: Int) throws -> SealingKey {
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
      return try SealingKey(file: path)
    }
    for mode in [0o644, 0o604, 0o602, 0o620, 0o777] {
      #expect(throws: SealingKey.Failure.exposed(path: path, mode: String(mode, radix: 8))) { try read(mode) }
    }
    for mode in [0o600, 0o400, 0o640, 0o440] { #expect(try read(mode).ids == SealingKey(key).ids) }
    #expect(SealingKey.Failure.exposed(path: path, mode: "644").description.contains("chmod 600 \(path)"))
    #expect(throws: SealingKey.Failure.self) { try SealingKey(file: path + "-gone") }
    #expect(throws: SealingKey.Failure.unreadable(path: "/", reason: "it is no file")) { try SealingKey(file: "/") }
  }
}
