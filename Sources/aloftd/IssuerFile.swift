import AloftModel
import ArgumentParser
import ControlPlane
import Foundation
import Yams

/// The YAML file with the issuers of OpenID Connect. What is wrong is told with its place; a key that nobody knows is an error.
enum IssuerFile {
  private static let keys = [
    "name", "url", "client-id", "client-secret-file", "cli-client-id", "audiences", "algorithms", "user-claim",
    "roles-claim", "roles", "admit", "scopes", "ca-file",
  ]
  private static let ruleKeys = ["value", "cloud-role", "project", "role"]

  /// Throws a `ValidationError`.
  static func read(_ path: String) throws -> [IssuerSettings] {
    let text: String
    do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
      throw ValidationError("--oidc-file: \(path) cannot be read: \(error.localizedDescription)")
    }
    return try parse(text, path: path)
  }

  static func parse(_ text: String, path: String) throws -> [IssuerSettings] {
    let value: Any?
    do { value = try Yams.load(yaml: text) } catch { throw ValidationError("\(path) is no YAML: \(error)") }
    let file = try Map(value ?? [String: Any](), at: path, knowing: ["issuers"])
    return try file.maps("issuers", knowing: keys).map(issuer)
  }

  private static func issuer(_ map: Map) throws -> IssuerSettings {
    var issuer = IssuerSettings(
      name: try map.required("name"), url: try map.required("url"), clientID: try map.required("client-id"))
    if let path = try map.text("client-secret-file") {
      do {
        issuer.clientSecret = try String(contentsOfFile: path, encoding: .utf8)
          .trimmingCharacters(in: .whitespacesAndNewlines)
      } catch {
        throw ValidationError("\(map.place): client-secret-file \(path) cannot be read: \(error.localizedDescription)")
      }
    }
    issuer.cliClientID = try map.text("cli-client-id")
    if let audiences = try map.texts("audiences") { issuer.audiences = audiences }
    if let names = try map.texts("algorithms") {
      issuer.algorithms = try names.map { try word($0, "algorithms", map) }
    }
    if let claim = try map.text("user-claim") { issuer.userClaim = claim }
    if let claim = try map.text("roles-claim") { issuer.rolesClaim = claim }
    issuer.rules = try map.maps("roles", knowing: ruleKeys).map(rule)
    if let admission = try map.text("admit") {
      issuer.admission = try word(admission, "admit", map)
    } else {
      issuer.admission = issuer.rules.isEmpty ? .all : .mapped
    }
    if let scopes = try map.texts("scopes") { issuer.scopes = scopes.filter { $0 != "openid" } }
    issuer.caFile = try map.text("ca-file")
    return issuer
  }

  private static func rule(_ map: Map) throws -> ClaimRule {
    let value = try map.required("value")
    switch (try map.text("cloud-role"), try map.text("project"), try map.text("role")) {
    case (let role?, nil, nil): return ClaimRule(value: value, grant: .cloud(try word(role, "cloud-role", map)))
    case (nil, let project?, let role?):
      return ClaimRule(value: value, grant: .project(project, try word(role, "role", map)))
    default: throw ValidationError("\(map.place) needs either cloud-role, or project and role")
    }
  }

  private static func word<Word: CaseIterable & RawRepresentable<String>>(
    _ text: String, _ key: String, _ map: Map
  ) throws -> Word {
    guard let word = Word(rawValue: text) else {
      let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("\(map.place): \(key) has '\(text)'; it is one of \(words)")
    }
    return word
  }
}

/// A map of the file, with its place.
private struct Map {
  let place: String
  private let values: [String: Any]

  init(_ value: Any, at place: String, knowing keys: [String]) throws {
    guard let map = value as? [String: Any] else { throw ValidationError("\(place) must be a map") }
    for key in map.keys.sorted() where !keys.contains(key) {
      throw ValidationError("\(place): there is no setting '\(key)'; there are \(keys.joined(separator: ", "))")
    }
    (values, self.place) = (map, place)
  }

  func text(_ key: String) throws -> String? {
    guard let value = values[key] else { return nil }
    guard let text = value as? String, !text.isEmpty else { throw ValidationError("\(place): '\(key)' must be a text") }
    return text
  }

  func required(_ key: String) throws -> String {
    guard let text = try text(key) else { throw ValidationError("\(place): '\(key)' is missing") }
    return text
  }

  func texts(_ key: String) throws -> [String]? {
    guard let value = values[key] else { return nil }
    if let text = value as? String { return [text] }
    guard let list = value as? [String] else { throw ValidationError("\(place): '\(key)' must be a list of texts") }
    return list
  }

  func maps(_ key: String, knowing keys: [String]) throws -> [Map] {
    guard let value = values[key] else { return [] }
    guard let list = value as? [Any] else { throw ValidationError("\(place): '\(key)' must be a list") }
    return try list.enumerated().map { try Map($0.element, at: "\(place): \(key)[\($0.offset)]", knowing: keys) }
  }
}
