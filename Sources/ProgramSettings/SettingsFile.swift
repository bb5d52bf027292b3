import ArgumentParser
import Foundation
import Glibc
import Yams

/// A YAML file with a map of settings.
struct SettingsFile: Sendable {
  let path: String
  /// By the keys as they are written.
  let values: [String: [String]]

  /// Throws a `ValidationError` that says what is wrong with the file.
  init(path: String) throws {
    self.path = path
    let text = try Self.content(of: path)
    let value: Any?
    do { value = try Yams.load(yaml: text) } catch {
      throw ValidationError("the settings file \(path) is no YAML: \(error)")
    }
    guard let map = (value ?? [String: Any]()) as? [String: Any] else {
      throw ValidationError("the settings file \(path) must hold a map of settings, such as 'log-level: debug'")
    }
    values = try map.reduce(into: [:]) { values, item in
      let list = item.value as? [Any] ?? [item.value]
      values[item.key] = try list.map { part in
        guard let text = Self.text(part) else {
          throw ValidationError("\(path): '\(item.key)' must be a text, a number, true, false or a list of them")
        }
        return text
      }
    }
  }

  private static func text(_ value: Any) -> String? {
    switch value {
    case let text as String: text
    case let truth as Bool: truth ? "true" : "false"
    case let number as Int: String(number)
    default: nil
    }
  }

  private static func content(of path: String) throws -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw ValidationError("the settings file \(path) cannot be read: \(String(cString: strerror(errno)))")
    }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    guard let bytes = try? file.readToEnd() ?? Data(), let text = String(data: bytes, encoding: .utf8) else {
      throw ValidationError("the settings file \(path) is no text in UTF-8")
    }
    return text
  }
}
