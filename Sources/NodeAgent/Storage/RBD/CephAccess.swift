import Crypto
import Foundation

/// How this node reaches a pool of a Ceph cluster. The client's key is in its keyring only: it is never kept here, nor logged.
public struct CephAccess: Sendable, Hashable {
  /// The name that Ceph knows the pool by.
  public var pool: String
  /// The cephx client, without `client.`.
  public var client: String
  /// The cluster's ceph.conf, which QEMU reads too.
  public var configuration: String
  public var keyring: String

  public init(pool: String, client: String, configuration: String, keyring: String) {
    self.pool = pool
    self.client = client
    self.configuration = configuration
    self.keyring = keyring
  }

  /// What begins the settings of such pools.
  public static let settingPrefix = "rbd:"

  /// `rbd:POOL[:id=CLIENT][:conf=FILE][:keyring=FILE]`; nil if it is not that.
  public init?(setting: String) {
    guard setting.hasPrefix(Self.settingPrefix) else { return nil }
    let words = setting.dropFirst(Self.settingPrefix.count)
      .split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard let pool = words.first, Self.isName(pool) else { return nil }
    var values: [String: String] = [:]
    for word in words.dropFirst() {
      let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2, values.updateValue(parts[1], forKey: parts[0]) == nil else { return nil }
    }
    let client = values.removeValue(forKey: "id") ?? "aloft"
    let configuration = values.removeValue(forKey: "conf") ?? "/etc/ceph/ceph.conf"
    let keyring = values.removeValue(forKey: "keyring") ?? "/etc/ceph/ceph.client.\(client).keyring"
    guard values.isEmpty, Self.isName(client), Self.isPath(configuration), Self.isPath(keyring) else { return nil }
    self.init(pool: pool, client: client, configuration: configuration, keyring: keyring)
  }

  private static func isName(_ text: String) -> Bool {
    guard !text.isEmpty, !text.hasPrefix("-") else { return false }
    return text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
  }

  /// Absolute, and without what separates words in QEMU's names of RBD images.
  private static func isPath(_ text: String) -> Bool {
    text.hasPrefix("/") && !text.contains { "@=,\\".contains($0) || $0.isWhitespace }
  }

  /// The libvirt secret with the client's key: the same for the same client at each start of the agent.
  public var secret: UUID {
    let digest = Array(SHA256.hash(data: Array("aloft ceph \(configuration) client.\(client)".utf8)))
    // RFC 9562, section 5.8: version 8 is for whoever makes UUIDs in a way of their own.
    return UUID(
      uuid: (
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6] & 0x0f | 0x80, digest[7],
        digest[8] & 0x3f | 0x80, digest[9], digest[10], digest[11], digest[12], digest[13], digest[14], digest[15]
      ))
  }

  /// An image as `qemu-img` names it.
  func qemuName(_ image: String) -> String {
    "rbd:\(pool)/\(image):id=\(client):conf=\(configuration):keyring=\(keyring)"
  }

  /// The client's key, from the keyring.
  func key() throws(AgentFailure) -> [UInt8] {
    let text = String(decoding: try FileSystem.readAll(keyring), as: UTF8.self)
    var isOurs = false
    for line in text.split(separator: "\n").map({ $0.trimmingCharacters(in: .whitespaces) }) {
      if line.hasPrefix("[") { isOurs = line == "[client.\(client)]" }
      let parts = line.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
      if isOurs, parts.count == 2, parts[0] == "key", let key = Data(base64Encoded: parts[1]) { return Array(key) }
    }
    throw AgentFailure(.storage, "\(keyring) has no key of client.\(client); `ceph auth get client.\(client)` shows it")
  }
}
