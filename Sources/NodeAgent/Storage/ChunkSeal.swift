import AloftModel
import Crypto

/// Seals the chunks of an encrypted volume's backups, and opens them.
///
/// A sealed chunk is its mark (32 bytes), the ciphertext and the tag (16 bytes). The mark is the HMAC-SHA-256 of what the chunk holds; the
/// ciphertext is AES-256-GCM's, under a key that HKDF-SHA-256 makes of the mark. What both are made with comes of the volume's key and its
/// id, by HKDF-SHA-256 too: one key for marks, one for chunks.
///
/// Invariants:
/// - Equal chunks of a volume are equal sealed, so they are kept once. That, and how long it is, is all that a sealed chunk tells who has not
///   the volume's key.
/// - No key of AES-GCM seals two contents: it is made of a mark, and two contents with one mark would be a collision of HMAC-SHA-256. So the
///   nonce need not differ.
/// - What is opened is what was sealed with this volume's key; anything else is refused. Where in the volume it belongs says the manifest,
///   whose SHA-256 the control plane knows.
struct ChunkSeal: Sendable {
  private static let markBytes = 32
  private static let tagBytes = BackupManifest.sealBytes - markBytes
  private static let nonce = [UInt8](repeating: 0, count: 12)

  /// Whose key it is.
  let volume: VolumeID
  private let marking: SymmetricKey
  private let sealing: SymmetricKey

  init(_ key: VolumeKey, of volume: VolumeID) {
    let bits = SymmetricKey(data: key.bytes)
    func derived(_ purpose: String) -> SymmetricKey {
      HKDF<SHA256>.deriveKey(
        inputKeyMaterial: bits, info: Array("aloft backup \(purpose) of \(volume)".utf8), outputByteCount: 32)
    }
    self.volume = volume
    marking = derived("marks")
    sealing = derived("chunks")
  }

  private func key(_ mark: some Sequence<UInt8>) -> SymmetricKey {
    HKDF<SHA256>.deriveKey(inputKeyMaterial: sealing, info: Array(mark), outputByteCount: 32)
  }

  func seal(_ bytes: [UInt8]) throws(AgentFailure) -> [UInt8] {
    let mark = Array(HMAC<SHA256>.authenticationCode(for: bytes, using: marking))
    do {
      let box = try AES.GCM.seal(bytes, using: key(mark), nonce: AES.GCM.Nonce(data: Self.nonce))
      return mark + Array(box.ciphertext) + Array(box.tag)
    } catch {
      throw AgentFailure(.storage, "a chunk of the backup cannot be sealed: \(error)")
    }
  }

  /// Throws `backupDamaged` for what was not sealed with this key.
  func open(_ sealed: [UInt8]) throws(AgentFailure) -> [UInt8] {
    guard sealed.count > BackupManifest.sealBytes else { throw notSealed }
    let end = sealed.count - Self.tagBytes
    do {
      let box = try AES.GCM.SealedBox(
        nonce: AES.GCM.Nonce(data: Self.nonce), ciphertext: sealed[Self.markBytes..<end], tag: sealed[end...])
      return Array(try AES.GCM.open(box, using: key(sealed.prefix(Self.markBytes))))
    } catch {
      throw notSealed
    }
  }

  private var notSealed: AgentFailure {
    AgentFailure(.backupDamaged, "a chunk was not sealed with the key of \(volume), or was changed since")
  }
}
