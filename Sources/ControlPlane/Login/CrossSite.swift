import AloftModel
import Foundation
import HTTPTypes

/// Refuses what a page of somebody else made a browser send.
///
/// `SameSite=Strict` keeps the cookie from such requests already; this holds where a browser does not, and against pages of
/// neighbours in the same domain.
enum CrossSite {
  private static let safe: [HTTPRequest.Method] = [.get, .head]

  /// Throws unless the caller may have meant this request: a change in a session needs the session's token.
  static func check(_ request: HTTPRequest, of principal: Principal, publicURL: String) throws(Problem) {
    guard let expected = principal.csrfToken, !safe.contains(request.method) else { return }
    try checkOrigin(request, publicURL: publicURL)
    guard let sent = request.headerFields[.csrfToken] else {
      throw Problem(
        .csrfRefused, "a change in a session needs the header X-CSRF-Token; GET /v1/session tells its value",
        errors: [.init(code: .csrfRefused, detail: "missing", parameter: "X-CSRF-Token")])
    }
    guard SecretComparison.isEqual(sent, expected) else {
      throw Problem(
        .csrfRefused, "X-CSRF-Token is not that of this session; GET /v1/session tells it",
        errors: [.init(code: .csrfRefused, detail: "not this session's", parameter: "X-CSRF-Token")])
    }
  }

  /// Throws where the browser says that another site made it send this.
  static func checkOrigin(_ request: HTTPRequest, publicURL: String) throws(Problem) {
    if let site = request.headerFields[.secFetchSite], site != "same-origin", site != "none" {
      throw refusal("Sec-Fetch-Site", "is \(site.prefix(40))")
    }
    guard let origin = request.headerFields[.origin] else { return }
    let own = ["https://\(request.authority ?? "")", Self.origin(of: publicURL)]
    guard own.contains(origin.lowercased()) else { throw refusal("Origin", "is \(origin.prefix(80))") }
  }

  /// Scheme, host and port.
  static func origin(of url: String) -> String {
    let parts = url.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
    return parts.prefix(3).joined(separator: "/").lowercased()
  }

  private static func refusal(_ header: String, _ what: String) -> Problem {
    Problem(
      .csrfRefused, "\(header) \(what): a page of another site may not do this in a session of Aloft",
      errors: [.init(code: .csrfRefused, detail: "another site", parameter: header)])
  }
}
