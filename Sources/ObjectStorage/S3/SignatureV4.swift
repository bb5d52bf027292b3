import FoundationEssentials
import Glibc

/// AWS Signature Version 4 for requests with header fields (AWS, "Signature Calculations for the Authorization Header").
/// A pure function.
struct SignatureV4 {
  let credentials: S3Credentials
  let region: String
  var service = "s3"

  /// What is signed of a request.
  struct Request {
    var method: String
    /// Percent-encoded by ``SignatureV4/encode(_:keepsSlash:)``.
    var path: String
    /// Not encoded.
    var query: [(name: String, value: String)] = []
    /// With `host`; names in any case.
    var headers: [(name: String, value: String)]
    /// SHA-256 of the body in hexadecimal.
    var payloadHash: String
  }

  /// The fields to add to the request: date, payload hash, perhaps the session's token, and the signature over all.
  func fields(for request: Request, at date: Date) -> [(name: String, value: String)] {
    let time = Self.time(date)
    var added = [("x-amz-date", time), ("x-amz-content-sha256", request.payloadHash)]
    if let token = credentials.sessionToken { added.append(("x-amz-security-token", token)) }
    let headers = (request.headers + added).map { ($0.name.lowercased(), Self.trimmed($0.value)) }.sorted {
      $0.0 < $1.0
    }
    let names = headers.map(\.0).joined(separator: ";")
    let canonical = [
      request.method, request.path, Self.canonicalQuery(request.query),
      headers.map { "\($0.0):\($0.1)\n" }.joined(), names, request.payloadHash,
    ].joined(separator: "\n")
    let day = String(time.prefix(8))
    let scope = "\(day)/\(region)/\(service)/aws4_request"
    let text = ["AWS4-HMAC-SHA256", time, scope, RunningHash.hexadecimal(of: canonical.utf8)].joined(separator: "\n")
    var key = Array("AWS4\(credentials.secretAccessKey)".utf8)
    for part in [day, region, service, "aws4_request"] { key = Self.hmac(key, Array(part.utf8)) }
    let signature = RunningHash.hexadecimal(Self.hmac(key, Array(text.utf8)))
    let authorization =
      "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope),SignedHeaders=\(names),Signature=\(signature)"
    return added + [("authorization", authorization)]
  }

  /// Sorted by encoded name and value, as it must also stand in the URL.
  static func canonicalQuery(_ query: [(name: String, value: String)]) -> String {
    query.map { (encode($0.name), encode($0.value)) }.sorted { $0 < $1 }.map { "\($0.0)=\($0.1)" }.joined(
      separator: "&")
  }

  /// Everything but letters, digits and `-._~` as `%XX`.
  static func encode(_ text: String, keepsSlash: Bool = false) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case 0x41...0x5A, 0x61...0x7A, 0x30...0x39, 0x2D, 0x2E, 0x5F, 0x7E: bytes.append(byte)
      case 0x2F where keepsSlash: bytes.append(byte)
      default: bytes += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// `20130524T000000Z`.
  static func time(_ date: Date) -> String {
    var seconds = time_t(date.timeIntervalSince1970.rounded(.down))
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func digits(_ number: Int32, _ count: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
    }
    return digits(parts.tm_year + 1900, 4) + digits(parts.tm_mon + 1, 2) + digits(parts.tm_mday, 2) + "T"
      + digits(parts.tm_hour, 2) + digits(parts.tm_min, 2) + digits(parts.tm_sec, 2) + "Z"
  }

  /// RFC 2104 with SHA-256.
  static func hmac(_ key: [UInt8], _ message: [UInt8]) -> [UInt8] {
    func digest(_ bytes: [UInt8]...) -> [UInt8] {
      var hash = RunningHash()
      for run in bytes { hash.add(run) }
      return hash.digest
    }
    var block = key.count > 64 ? digest(key) : key
    block += [UInt8](repeating: 0, count: 64 - block.count)
    return digest(block.map { $0 ^ 0x5C }, digest(block.map { $0 ^ 0x36 }, message))
  }

  private static func trimmed(_ value: String) -> String {
    value.split(separator: " ").joined(separator: " ")
  }
}
