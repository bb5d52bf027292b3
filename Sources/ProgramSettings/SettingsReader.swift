import ArgumentParser
import Foundation

/// Finds the value of a setting: on the command line, else in the environment, else in the file.
///
/// What the command line gave is handed in with each question, as ArgumentParser read it. An empty environment variable counts
/// as not set. Every error is a `ValidationError` that names the place and says what would work.
public struct SettingsReader: Sendable {
  private let environment: [String: String]
  private let file: SettingsFile?

  /// - Parameters:
  ///   - known: every setting that the file may hold.
  ///   - config: the file's path, if the command line names one.
  ///   - configVariable: the environment variable that names it otherwise.
  public init(
    _ known: [Setting], config: String?, configVariable: String,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    self.environment = environment
    let named = environment[configVariable].flatMap { $0.isEmpty ? nil : $0 }
    file = try (config ?? named).map { try SettingsFile(path: $0) }
    guard let file else { return }
    for key in file.values.keys.sorted() where !known.contains(where: { $0.isMeant(by: key) }) {
      let names = known.map(\.name).sorted().joined(separator: ", ")
      throw ValidationError("\(file.path): there is no setting '\(key)'; there are \(names)")
    }
    for setting in known where file.values.keys.filter(setting.isMeant(by:)).count > 1 {
      throw ValidationError("\(file.path): '\(setting.name)' is set twice, with a dash and with an underscore")
    }
  }

  /// A value and the place where it was found.
  private struct Found {
    var values: [String]
    var place: String
  }

  private func find(_ setting: Setting, _ given: [String]) -> Found? {
    if !given.isEmpty { return Found(values: given, place: "--\(setting.name)") }
    if let text = environment[setting.variable], !text.isEmpty { return Found(values: [text], place: setting.variable) }
    guard let file, let key = file.values.keys.first(where: setting.isMeant(by:)) else { return nil }
    return Found(values: file.values[key] ?? [], place: "\(file.path): '\(key)'")
  }

  private func one(_ setting: Setting, _ given: String?) throws -> (value: String, place: String)? {
    guard let found = find(setting, given.map { [$0] } ?? []) else { return nil }
    guard found.values.count == 1 else { throw ValidationError("\(found.place) must be one value, not a list") }
    return (found.values[0], found.place)
  }

  /// A text; nil when it is nowhere.
  public func text(_ setting: Setting, _ given: String?) throws -> String? { try one(setting, given)?.value }

  /// A text that must be somewhere. `example` is told when it is not.
  public func required(_ setting: Setting, _ given: String?, example: String? = nil) throws -> String {
    guard let value = try text(setting, given) else { throw missing(setting, example) }
    return value
  }

  /// A list: the option several times, commas in the environment, a list or commas in the file. Empty when it is nowhere.
  public func list(_ setting: Setting, _ given: [String]) throws -> [String] {
    guard let found = find(setting, given) else { return [] }
    return found.values.flatMap { $0.split(separator: ",") }
      .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
  }

  /// A list that must have something in it.
  public func requiredList(_ setting: Setting, _ given: [String], example: String? = nil) throws -> [String] {
    let list = try list(setting, given)
    if list.isEmpty { throw missing(setting, example) }
    return list
  }

  private func missing(_ setting: Setting, _ example: String?) -> ValidationError {
    let like = example.map { ", such as \($0)" } ?? ""
    return ValidationError("--\(setting.name) is missing\(like); it can also be set as \(setting.variable)")
  }

  /// A whole number within `range`; nil when it is nowhere.
  public func integer(_ setting: Setting, _ given: Int?, _ range: ClosedRange<Int>) throws -> Int? {
    guard let (text, place) = try one(setting, given.map { String($0) }) else { return nil }
    guard let value = Int(text) else { throw ValidationError("\(place) is '\(text)', which is no whole number") }
    guard range.contains(value) else {
      throw ValidationError("\(place) is \(value), not between \(range.lowerBound) and \(range.upperBound)")
    }
    return value
  }

  /// Whether something is on: the flag, or `true`.
  public func flag(_ setting: Setting, _ given: Bool) throws -> Bool {
    guard let (text, place) = try one(setting, given ? "true" : nil) else { return false }
    switch text {
    case "true", "1": return true
    case "false", "0": return false
    default: throw ValidationError("\(place) is '\(text)', neither true nor false")
    }
  }

  /// One of a closed list of words; nil when it is nowhere.
  public func choice<Value: CaseIterable & RawRepresentable<String>>(
    _ setting: Setting, _ given: String?, of type: Value.Type = Value.self
  ) throws -> Value? {
    guard let (text, place) = try one(setting, given) else { return nil }
    guard let value = Value(rawValue: text) else {
      let words = Value.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("\(place) is '\(text)'; it is one of \(words)")
    }
    return value
  }
}
