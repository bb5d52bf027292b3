import AloftModel
import Postgres

/// A backup of an encrypted volume has that one's key, sealed as its own; so has what is restored from it.
extension SealingKey {
  func seal(_ key: VolumeKey, of backup: BackupID) throws -> [UInt8] {
    try seal(key.bytes, for: .volumeKey, of: backup.description)
  }

  func open(_ sealed: [UInt8], of backup: BackupID) throws(Failure) -> VolumeKey {
    guard let key = VolumeKey(try open(sealed, for: .volumeKey, of: backup.description)) else { throw .notAuthentic }
    return key
  }

  /// The key of a volume that the caller has locked, sealed for a backup of it.
  func key(of volume: VolumeID, for backup: BackupID, in session: Session) throws -> [UInt8] {
    try seal(try key(of: volume, at: "/volume", in: session), of: backup)
  }

  /// The key of a backup, sealed for a volume that is restored from it.
  func key(of backup: BackupID, for volume: VolumeID, in session: Session) throws -> [UInt8] {
    try seal(try key(of: backup, in: session), of: volume)
  }

  /// Whether a volume, which the caller has locked, has the key that a backup is sealed with.
  func isSame(_ volume: VolumeID, _ backup: BackupID, in session: Session) throws -> Bool {
    try key(of: volume, at: nil, in: session) == key(of: backup, in: session)
  }

  private func key(of backup: BackupID, in session: Session) throws -> VolumeKey {
    let row = try session.one("SELECT sealed_key FROM backups WHERE id = \(backup) AND deleted_at IS NULL")
    guard let row else { throw Problem.field(.notFound, "/backup", "the backup was deleted a moment ago") }
    guard let sealed = try row.get(0, as: [UInt8]?.self), let key = try? open(sealed, of: backup) else {
      throw Problem.field(.unavailable, "/backup", Self.locked("the backup"))
    }
    return key
  }
}
