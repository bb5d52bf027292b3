import AloftModel
import Crypto
import Foundation
import XMLBuilder

/// What QEMU has to be told of an encrypted volume beside its newest layer: it cannot ask for the keys of what lies below by itself.
public struct DiskEncryption: Sendable, Hashable {
  /// What the lowest layer lies over. It is not encrypted.
  public struct Base: Sendable, Hashable {
    public var path: String
    /// As QEMU names it: `qcow2`, `raw`.
    public var format: String

    public init(path: String, format: String) {
      self.path = path
      self.format = format
    }
  }

  /// The layers below the newest one, from above.
  public var below: [String]
  public var base: Base?

  public init(below: [String] = [], base: Base? = nil) {
    self.below = below
    self.base = base
  }

  /// All that it names.
  var names: [String] { below + [base].compactMap { $0.map { "\($0.format):\($0.path)" } } }
}

extension DiskEncryption {
  /// What an encrypted layer says in libvirt's XML: which secret has its key.
  static func element(of volume: VolumeID) -> XML {
    .element("encryption", ["format": "luks"]) {
      XML.element("secret", ["type": "passphrase", "uuid": secret(of: volume).uuidString.lowercased()])
    }
  }

  /// What lies below the newest layer. libvirt would find out by itself, but not ask for keys.
  func backing(of volume: VolumeID) -> XML { Self.backing(below[...], base, volume) }

  private static func backing(_ layers: ArraySlice<String>, _ base: Base?, _ volume: VolumeID) -> XML {
    if let layer = layers.first {
      return .element("backingStore", ["type": "file"]) {
        XML.element("format", ["type": "qcow2"])
        XML.element("source", ["file": layer]) { element(of: volume) }
        backing(layers.dropFirst(), base, volume)
      }
    }
    guard let base else { return .element("backingStore") }
    return .element("backingStore", ["type": "file"]) {
      XML.element("format", ["type": base.format])
      XML.element("source", ["file": base.path])
      XML.element("backingStore")
    }
  }

  /// The libvirt secret with a volume's key: the same at each start of the agent.
  static func secret(of volume: VolumeID) -> UUID {
    let digest = Array(SHA256.hash(data: Array("aloft volume \(volume)".utf8)))
    // RFC 9562, section 5.8: version 8 is for whoever makes UUIDs in a way of their own.
    return UUID(
      uuid: (
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6] & 0x0f | 0x80, digest[7],
        digest[8] & 0x3f | 0x80, digest[9], digest[10], digest[11], digest[12], digest[13], digest[14], digest[15]
      ))
  }
}
