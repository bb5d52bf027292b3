import COpenSSL
import HTTPTypes

/// The opening handshake of RFC 6455, 4.2.
enum WebSocketHandshake {
  /// What a request said about becoming a WebSocket.
  enum Offer: Sendable {
    case absent
    /// The version is not 13.
    case unsupportedVersion
    case invalid
    /// With a body, whose bytes would be taken for frames, or in HTTP/1.0, which knows no upgrade.
    case notAlone
    case valid(key: String)
  }

  static func offer(in request: Request, upgrades: Bool, standsAlone: Bool) -> Offer {
    guard upgrades, request.method == .get else { return .absent }
    guard standsAlone else { return .notAlone }
    let headers = request.headers
    guard headers[.secWebSocketVersion] == "13" else { return .unsupportedVersion }
    guard let key = headers[.secWebSocketKey], isKey(key) else { return .invalid }
    return .valid(key: key)
  }

  /// The base64 of 16 bytes.
  private static func isKey(_ key: String) -> Bool {
    let bytes = Array(key.utf8)
    guard bytes.count == 24, bytes[22] == UInt8(ascii: "="), bytes[23] == UInt8(ascii: "=") else { return false }
    let alphabet = ByteSet(alphanumericsAnd: "+/")
    return bytes[..<22].allSatisfy { alphabet.contains($0) }
  }

  /// The value of Sec-WebSocket-Accept for `key`.
  static func accept(_ key: String) -> String {
    let input = Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)
    var digest = [UInt8](repeating: 0, count: 20)
    var length: UInt32 = 0
    EVP_Digest(input, input.count, &digest, &length, EVP_sha1(), nil)
    var text = [UInt8](repeating: 0, count: 29)
    let count = EVP_EncodeBlock(&text, digest, Int32(digest.count))
    return String(decoding: text.prefix(Int(count)), as: UTF8.self)
  }
}
