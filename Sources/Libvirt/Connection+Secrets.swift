import CLibvirt
import Foundation

extension Connection {
  /// Gives libvirtd a key that disks name by the secret's UUID, for as long as libvirtd runs: it is not written down, and nobody
  /// can ask for it. `usage` is a name that no other secret has. Done again, the new key holds from the next start of a guest on.
  public func setCephSecret(_ uuid: UUID, usage: String, key: [UInt8]) async throws(LibvirtError) {
    let xml = """
      <secret ephemeral='yes' private='yes'><uuid>\(uuid.uuidString.lowercased())</uuid>\
      <usage type='ceph'><name>\(usage)</name></usage></secret>
      """
    try await quick { connection throws(LibvirtError) in
      guard let secret = virSecretDefineXML(connection, xml, 0) else { throw LibvirtError.last() }
      defer { virSecretFree(secret) }
      _ = try LibvirtError.check(virSecretSetValue(secret, key, key.count, 0))
    }
  }
}
