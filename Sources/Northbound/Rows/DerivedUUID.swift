import Crypto
import Foundation

extension UUID {
  /// The UUID of a row that is not an object by itself: version 5 (RFC 9562, 5.5) of its owner's and of what the row is to it.
  init(of role: String, in owner: UUID) {
    var hash = Insecure.SHA1()
    withUnsafeBytes(of: owner.uuid) { hash.update(bufferPointer: $0) }
    hash.update(data: Array(role.utf8))
    var bytes = Array(hash.finalize().prefix(16))
    bytes[6] = bytes[6] & 0x0F | 0x50
    bytes[8] = bytes[8] & 0x3F | 0x80
    self = bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
  }

  /// As OVSDB writes it.
  var text: String { uuidString.lowercased() }

  /// 32 hexadecimal digits, where dashes are not allowed.
  var hex: String { text.replacing("-", with: "") }
}
