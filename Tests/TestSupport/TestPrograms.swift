import Foundation

/// The programs of the build that the tests are of.
public enum TestPrograms {
  /// The path of a program.
  public static func path(_ name: String) -> String {
    var folder = Bundle.main.executableURL?.deletingLastPathComponent() ?? URL(fileURLWithPath: "/")
    while folder.path != "/" {
      let file = folder.appending(path: name)
      var isFolder: ObjCBool = false
      if FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder), !isFolder.boolValue {
        return file.path
      }
      folder.deleteLastPathComponent()
    }
    return ".build/debug/\(name)"
  }
}
