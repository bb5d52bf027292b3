import Foundation

/// What the layers of an encrypted volume are locked with: 256 random bits. No text that is made of it by accident shows them.
public struct VolumeKey: Sendable, Hashable {
  /// How many bytes a key has.
  public static let length = 32

  /// The bits in base64, which are the passphrase that QEMU gets.
  public let text: String

  /// Nil unless there are ``length`` bytes.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.length else { return nil }
    text = Data(bytes).base64EncodedString()
  }

  /// The bits.
  public var bytes: [UInt8] { Array(Data(base64Encoded: text) ?? Data()) }
}

extension VolumeKey: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let data = Data(base64Encoded: try container.decode(String.self)), let key = VolumeKey(Array(data)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a volume's key")
    }
    self = key
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}

extension VolumeKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  public var description: String { "a volume's key" }
  public var debugDescription: String { description }
  public var customMirror: Mirror { Mirror(self, children: [:]) }
}
