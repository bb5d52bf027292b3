import ArgumentParser
import Foundation
import ProgramSettings
import Testing

/// A settings file that goes away with the test.
final class SettingsFile: Sendable {
  let path = NSTemporaryDirectory() + "aloft-settings-\(UUID().uuidString).yaml"

  init(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Runs `body`, which must be refused, and returns what was said.
func refusal(_ body: () throws -> Void) -> String {
  do {
    try body()
    return "it was not refused"
  } catch let error as ValidationError { return error.message } catch { return "another error: \(error)" }
}

@Suite("Settings")
struct SettingsReaderTests {
  static let size = Setting("disk-size", prefix: "T_", "How big.")
  static let names = Setting("name", prefix: "T_", "Who.")
  static let on = Setting("on", prefix: "T_", "Whether.")
  static let color = Setting("color", prefix: "T_", "Which.")

  enum Color: String, CaseIterable { case red, green }

  func reader(_ environment: [String: String] = [:], file: SettingsFile? = nil) throws -> SettingsReader {
    try SettingsReader(
      [Self.size, Self.names, Self.on, Self.color], config: file?.path, configVariable: "T_CONFIG",
      environment: environment)
  }

  @Test("the command line wins over the environment, and that over the file")
  func order() throws {
    let file = try SettingsFile("disk-size: 1\nname: [a, b]\n")
    #expect(try reader(file: file).integer(Self.size, nil, 0...9) == 1)
    #expect(try reader(["T_DISK_SIZE": "2"], file: file).integer(Self.size, nil, 0...9) == 2)
    #expect(try reader(["T_DISK_SIZE": "2"], file: file).integer(Self.size, 3, 0...9) == 3)
    #expect(try reader(["T_DISK_SIZE": ""], file: file).integer(Self.size, nil, 0...9) == 1, "empty is not set")
    #expect(try reader().integer(Self.size, nil, 0...9) == nil)
    #expect(try reader(file: file).list(Self.names, []) == ["a", "b"])
    #expect(try reader(["T_NAME": "c, d,"], file: file).list(Self.names, []) == ["c", "d"])
    #expect(try reader(["T_NAME": "c"], file: file).list(Self.names, ["e", "f"]) == ["e", "f"])
    #expect(try reader(["T_CONFIG": file.path]).integer(Self.size, nil, 0...9) == 1)
    let underscores = try SettingsFile("disk_size: 4")
    #expect(try reader(file: underscores).integer(Self.size, nil, 0...9) == 4)
    #expect(try reader(file: SettingsFile("")).integer(Self.size, nil, 0...9) == nil)
  }

  @Test("flags and words are read from each place")
  func words() throws {
    #expect(try reader().flag(Self.on, true))
    #expect(try reader(["T_ON": "1"]).flag(Self.on, false))
    #expect(try !reader(["T_ON": "false"]).flag(Self.on, false))
    #expect(try reader(file: SettingsFile("on: true")).flag(Self.on, false))
    #expect(try reader(file: SettingsFile("color: green")).choice(Self.color, nil, of: Color.self) == .green)
  }

  @Test("what is wrong is told with its place and with what would work")
  func refusals() throws {
    #expect(
      refusal { _ = try reader(["T_DISK_SIZE": "big"]).integer(Self.size, nil, 0...9) }
        == "T_DISK_SIZE is 'big', which is no whole number")
    #expect(refusal { _ = try reader().integer(Self.size, 10, 0...9) } == "--disk-size is 10, not between 0 and 9")
    let file = try SettingsFile("disk-size: 99\nname: [a, b]\ncolor: blue\n'on': maybe\n")
    let withFile = try reader(file: file)
    #expect(
      refusal { _ = try withFile.integer(Self.size, nil, 0...9) }
        == "\(file.path): 'disk-size' is 99, not between 0 and 9")
    #expect(refusal { _ = try withFile.text(Self.names, nil) } == "\(file.path): 'name' must be one value, not a list")
    #expect(
      refusal { _ = try withFile.choice(Self.color, nil, of: Color.self) }
        == "\(file.path): 'color' is 'blue'; it is one of red, green")
    #expect(
      refusal { _ = try withFile.flag(Self.on, false) } == "\(file.path): 'on' is 'maybe', neither true nor false")
    #expect(
      refusal { _ = try reader().required(Self.size, nil, example: "3") }
        == "--disk-size is missing, such as 3; it can also be set as T_DISK_SIZE")
  }

  @Test("a file that cannot be used is refused with the reason")
  func files() throws {
    func said(_ text: String) throws -> String {
      let file = try SettingsFile(text)
      return refusal { _ = try reader(file: file) }.replacingOccurrences(of: file.path, with: "FILE")
    }
    #expect(try said("colour: red") == "FILE: there is no setting 'colour'; there are color, disk-size, name, on")
    #expect(
      try said("disk-size: 1\ndisk_size: 2") == "FILE: 'disk-size' is set twice, with a dash and with an underscore")
    #expect(try said("- a").hasPrefix("the settings file FILE must hold a map of settings"))
    #expect(try said("color: {a: b}") == "FILE: 'color' must be a text, a number, true, false or a list of them")
    #expect(try said("a: [").hasPrefix("the settings file FILE is no YAML"))
    #expect(
      refusal { _ = try reader(["T_CONFIG": "/nowhere/x.yaml"]) }
        == "the settings file /nowhere/x.yaml cannot be read: No such file or directory")
  }
}
