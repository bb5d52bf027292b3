import CLibvirt
import Foundation

extension Connection {
  /// Gives libvirtd a key that disks name by the secret's UUID, for as long as libvirtd runs: it is not written down, and nobody
  /// can ask for it. `usage` is a name that no other secret has. Done again, the new key holds from the next start of a guest on.
  public func setCephSecret(_ uuid: UUID, usage: String, key: [UInt8]) async throws(LibvirtError) {
    try await setSecret(uuid, usage: "<usage type='ceph'><name>\(usage)</name></usage>", key)
  }

  /// The same for the passphrase of an encrypted volume.
  public func setVolumeSecret(_ uuid: UUID, usage: String, key: [UInt8]) async throws(LibvirtError) {
    try await setSecret(uuid, usage: "<usage type='volume'><volume>\(usage)</volume></usage>", key)
  }

  /// Lets libvirtd forget a secret; one that it does not have is forgotten already.
  public func removeSecret(_ uuid: UUID) async throws(LibvirtError) {
    try await quick { connection throws(LibvirtError) in
      guard let secret = virSecretLookupByUUIDString(connection, uuid.uuidString.lowercased()) else { return }
      defer { virSecretFree(secret) }
      _ = try LibvirtError.check(virSecretUndefine(secret))
    }
  }

  private func setSecret(_ uuid: UUID, usage: String, _ key: [UInt8]) async throws(LibvirtError) {
    let xml = """
      <secret ephemeral='yes' private='yes'><uuid>\(uuid.uuidString.lowercased())</uuid>\
      \(usage)</secret>
      """
    try await quick { connection throws(LibvirtError) in
      guard let secret = virSecretDefineXML(connection, xml, 0) else { throw LibvirtError.last() }
      defer { virSecretFree(secret) }
      _ = try LibvirtError.check(virSecretSetValue(secret, key, key.count, 0))
    }
  }
}
