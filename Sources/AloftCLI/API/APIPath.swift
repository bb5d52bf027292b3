/// Paths and queries of the API, percent-encoded (RFC 3986).
enum APIPath {
  /// `/v1/vms/hello`: each segment is encoded, so that no name can reach another path.
  static func path(_ segments: String...) -> String { path(segments) }

  static func path(_ segments: [String]) -> String { "/v1/" + segments.map(encoded).joined(separator: "/") }

  /// `?a=b&c=d`, or nothing.
  static func query(_ items: [(String, String)]) -> String {
    items.isEmpty ? "" : "?" + items.map { "\(encoded($0.0))=\(encoded($0.1))" }.joined(separator: "&")
  }

  /// The command group that a path belongs to. None where it is open which part of the path a problem is about.
  static func noun(of path: String) -> String? {
    let segments = path.prefix { $0 != "?" }.split(separator: "/")
    if segments.count > 3, segments[3] == "members" || segments[3] == "deliveries" { return nil }
    return switch segments.dropFirst().first {
    case "vms": "vm"
    case "images": "image"
    case "nodes": "node"
    case "node-pools": "node-pool"
    case "node-tokens": "node-token"
    case "operations": "operation"
    case "projects": "project"
    case "users": "user"
    case "tokens": "token"
    case "webhooks": "webhook"
    default: nil
    }
  }

  private static func encoded(_ text: String) -> String {
    text.utf8.reduce(into: "") { result, byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"):
        result.unicodeScalars.append(Unicode.Scalar(byte))
      // A segment of dots would be a step up in the path.
      case UInt8(ascii: ".") where text != "." && text != "..": result += "."
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        result += "%" + (digits.count == 1 ? "0" : "") + digits
      }
    }
  }
}
