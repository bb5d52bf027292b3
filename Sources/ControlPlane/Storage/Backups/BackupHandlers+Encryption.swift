import AloftModel
import Postgres

/// What a backup of an encrypted volume holds is nowhere in the clear, and locked with no other key than that volume's.
extension BackupHandlers {
  /// Refuses to restore it as a new volume that would not be encrypted.
  ///
  /// - Parameter wanted: whether that one is to be, if it was said.
  static func requireEncryption(of backup: BackupRecord, in pool: StoragePoolRecord, wanted: Bool?) throws {
    guard backup.isEncrypted else { return }
    let what = "backup \(backup.name) is of an encrypted volume, and what is restored from it is encrypted, too"
    if wanted == false { throw Problem.field(.encryptionUnsupported, "/encrypted", "\(what): leave this out") }
    guard pool.kind.isShared else { return }
    throw Problem.field(
      .encryptionUnsupported, "/pool",
      "\(what), which volumes in pool \(pool.name), of kind \(pool.kind.rawValue), cannot be: choose one of kind dir")
  }

  /// Refuses to restore it over a volume that has not its key.
  static func requireSameKey(
    _ backup: BackupRecord, _ volume: VolumeRecord, _ sealing: SealingKey, in session: Session
  ) throws {
    guard backup.isEncrypted else { return }
    let why: String? =
      if !volume.isEncrypted {
        "and volume \(volume.name) is not encrypted"
      } else if try !sealing.isSame(volume.id, backup.id, in: session) {
        "and volume \(volume.name) has another key than that one"
      } else {
        nil
      }
    guard let why else { return }
    throw Problem.field(
      .encryptionUnsupported, "/backup",
      "backup \(backup.name) is of the encrypted volume \(backup.volumeName), \(why): restore it as a new volume, or over one that has the key of that one"
    )
  }
}
