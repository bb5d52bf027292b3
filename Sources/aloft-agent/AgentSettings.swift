import ArgumentParser
import Foundation
import Logging
import NodeAgent
import Yams

/// The settings in force: options over environment over file over defaults.
struct AgentSettings: Sendable {
  var urls: [String]
  var ca: String?
  var data: String
  var libvirt: String
  var name: String?
  var joinToken: String?
  var capacity = CapacitySettings()
  var serialLogKib: Int
  var parallel: Int
  var logLevel: Logger.Level

  init(
    options: AgentOptions, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    let config = options.config ?? environment["ALOFT_AGENT_CONFIG"]
    let layers = Layers(environment: environment, file: try config.map(Self.read) ?? [:])
    urls = options.url.isEmpty ? try layers.list("url") : options.url
    ca = try options.ca ?? layers.text("ca")
    data = try options.data ?? layers.text("data") ?? "/var/lib/aloft-agent"
    libvirt = try options.libvirt ?? layers.text("libvirt") ?? "qemu:///system"
    name = try options.name ?? layers.text("name")
    joinToken = try options.joinToken ?? layers.text("join_token")
    capacity.vcpus = try layers.number("vcpus", options.vcpus, 1...4096)
    capacity.memoryMib = try layers.number("memory_mib", options.memoryMib, 64...(1 << 30))
    capacity.diskGib = try layers.number("disk_gib", options.diskGib, 1...(1 << 30))
    capacity.reservedMemoryMib = try layers.number("reserved_memory_mib", options.reservedMemoryMib, 0...(1 << 30))
    capacity.reservedDiskGib = try layers.number("reserved_disk_gib", options.reservedDiskGib, 0...(1 << 30))
    serialLogKib = try layers.number("serial_log_kib", options.serialLogKib, 4...(1 << 20)) ?? 1024
    parallel = try layers.number("parallel", options.parallel, 1...64) ?? 4
    capacity.accelerator =
      try Self.choice(
        "accelerator", options.accelerator ?? layers.text("accelerator"), AcceleratorSetting.init(rawValue:),
        AcceleratorSetting.allCases.map(\.rawValue)) ?? .auto
    logLevel =
      try Self.choice(
        "log-level", options.logLevel ?? layers.text("log_level"), Logger.Level.init(rawValue:),
        Logger.Level.allCases.map(\.rawValue)) ?? .info
    try layers.refuseUnknown()
    if urls.isEmpty {
      throw ValidationError("--url is missing: the control plane's base URL, such as https://aloft:8443")
    }
    if !data.hasPrefix("/") { throw ValidationError("--data '\(data)' must be an absolute path") }
  }

  private static func choice<Value>(
    _ name: String, _ text: String?, _ value: (String) -> Value?, _ names: [String]
  ) throws -> Value? {
    guard let text else { return nil }
    guard let result = value(text) else {
      throw ValidationError("--\(name) '\(text)' is not one of \(names.joined(separator: ", "))")
    }
    return result
  }

  private static func read(_ path: String) throws -> [String: any Sendable] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw ValidationError("--config '\(path)' cannot be read")
    }
    let value: Any?
    do { value = try Yams.load(yaml: text) } catch { throw ValidationError("\(path): \(error)") }
    guard let value else { return [:] }
    guard let map = value as? [String: Any] else {
      throw ValidationError("\(path) must hold a map of options, such as 'data: /var/lib/aloft-agent'")
    }
    return try map.reduce(into: [:]) { result, item in
      switch item.value {
      case let text as String: result[item.key] = text
      case let number as Int: result[item.key] = String(number)
      case let list as [String]: result[item.key] = list
      default: throw ValidationError("\(path): '\(item.key)' must be a text, a number or a list of texts")
      }
    }
  }
}

/// The environment and the file.
private struct Layers {
  let environment: [String: String]
  let file: [String: any Sendable]

  static let names: Set<String> = [
    "url", "ca", "data", "libvirt", "name", "join_token", "accelerator", "vcpus", "memory_mib", "disk_gib",
    "reserved_memory_mib", "reserved_disk_gib", "serial_log_kib", "parallel", "log_level",
  ]

  func refuseUnknown() throws {
    if let unknown = file.keys.sorted().first(where: { !Self.names.contains($0) }) {
      throw ValidationError(
        "the file's option '\(unknown)' is not known; there are \(Self.names.sorted().joined(separator: ", "))")
    }
  }

  func text(_ name: String) throws -> String? {
    if let text = environment["ALOFT_AGENT_" + name.uppercased()] { return text }
    guard let value = file[name] else { return nil }
    guard let text = value as? String else { throw ValidationError("the file's option '\(name)' must be one value") }
    return text
  }

  func list(_ name: String) throws -> [String] {
    if let list = file[name] as? [String], environment["ALOFT_AGENT_" + name.uppercased()] == nil { return list }
    return try text(name)?.split(separator: ",").map(String.init) ?? []
  }

  func number(
    _ name: String, _ option: Int?, _ range: ClosedRange<Int>
  ) throws -> Int? {
    let value: Int
    if let option {
      value = option
    } else {
      guard let text = try text(name) else { return nil }
      guard let number = Int(text) else {
        throw ValidationError("the option '\(name)' is not a whole number: '\(text)'")
      }
      value = number
    }
    guard range.contains(value) else {
      throw ValidationError("the option '\(name)' is \(value), not between \(range.lowerBound) and \(range.upperBound)")
    }
    return value
  }
}
