import AloftModel
import Postgres

extension VolumeKey {
  private static let words = 4

  /// A new one.
  static func make(_ environment: Environment) -> VolumeKey? {
    VolumeKey((0..<words).flatMap { _ in withUnsafeBytes(of: environment.random().bigEndian) { Array($0) } })
  }
}

/// What is stored of keys: sealed with the operator's, for this volume and no other.
extension SealingKey {
  /// A new key for a volume, as it is stored.
  func newKey(of volume: VolumeID, _ environment: Environment) throws -> [UInt8] {
    guard let key = VolumeKey.make(environment) else { throw Failure.notAuthentic }
    return try seal(key, of: volume)
  }

  func seal(_ key: VolumeKey, of volume: VolumeID) throws -> [UInt8] {
    try seal(key.bytes, for: .volumeKey, of: volume.description)
  }

  func open(_ sealed: [UInt8], of volume: VolumeID) throws(Failure) -> VolumeKey {
    guard let key = VolumeKey(try open(sealed, for: .volumeKey, of: volume.description)) else { throw .notAuthentic }
    return key
  }

  /// The key of a volume that the caller holds, sealed for a clone of it.
  func key(of original: VolumeID, for clone: VolumeID, in session: Session) throws -> [UInt8] {
    try seal(try key(of: original, at: "/volume", in: session), of: clone)
  }

  /// The key of a volume that the caller holds.
  ///
  /// - Parameter pointer: where the request names the volume, if it does.
  func key(of volume: VolumeID, at pointer: String?, in session: Session) throws -> VolumeKey {
    let row = try session.one("SELECT sealed_key FROM volumes WHERE id = \(volume)")
    guard let sealed = try row?.get(0, as: [UInt8]?.self), let key = try? open(sealed, of: volume) else {
      let detail = Self.locked("the volume")
      throw pointer.map { Problem.field(.unavailable, $0, detail) } ?? Problem(.unavailable, detail)
    }
    return key
  }

  static func locked(_ what: String) -> String {
    "the key of \(what) cannot be opened: this replica has not the sealing key with which it was sealed"
  }
}
