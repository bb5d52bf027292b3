import Foundation

/// The checkout this file belongs to.
public let repositoryRoot: URL = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

func script(_ name: String) -> String { repositoryRoot.appending(path: "scripts/\(name)").path }
