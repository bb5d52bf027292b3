import ArgumentParser
import ControlPlane
import DiskImages
import Foundation
import HTTPClient
import Logging
import ObjectStorage
import ProgramSettings

/// Where images' contents are: in a directory, or in a bucket of an S3-compatible store.
struct ImageStoreOptions: ParsableArguments {
  @Option(name: PlaneSetting.imageStore.flag, help: PlaneSetting.imageStore.help)
  var imageStore: String?
  @Option(name: PlaneSetting.imageS3Endpoint.flag, help: PlaneSetting.imageS3Endpoint.help)
  var imageS3Endpoint: String?
  @Option(name: PlaneSetting.imageS3Bucket.flag, help: PlaneSetting.imageS3Bucket.help)
  var imageS3Bucket: String?
  @Option(name: PlaneSetting.imageS3Region.flag, help: PlaneSetting.imageS3Region.help)
  var imageS3Region: String?
  @Option(name: PlaneSetting.imageS3Prefix.flag, help: PlaneSetting.imageS3Prefix.help)
  var imageS3Prefix: String?
  @Option(name: PlaneSetting.imageS3Addressing.flag, help: PlaneSetting.imageS3Addressing.help)
  var imageS3Addressing: String?
  @Option(name: PlaneSetting.imageS3CACert.flag, help: PlaneSetting.imageS3CACert.help)
  var imageS3CACert: String?
  @Option(name: PlaneSetting.imageS3KeyFile.flag, help: PlaneSetting.imageS3KeyFile.help)
  var imageS3KeyFile: String?
  @Option(name: PlaneSetting.imageScratch.flag, help: PlaneSetting.imageScratch.help)
  var imageScratch: String?

  /// For a replica. Throws when nothing or both is set, and when there is nobody to look at images.
  func contents(_ source: SettingsReader, logger: Logger) throws -> ImageContents {
    guard FileManager.default.isExecutableFile(atPath: Self.inspectorPath) else {
      throw ValidationError("\(Self.inspectorPath) is not there; aloft-inspect must be installed beside aloftd")
    }
    guard let contents = try contentsIfSet(source, isNew: true, logger: logger) else {
      throw ValidationError(
        "say with --\(PlaneSetting.imageStore.name) (\(PlaneSetting.imageStore.variable)) or --\(PlaneSetting.imageS3Bucket.name) where images are kept"
      )
    }
    return contents
  }

  /// Nil when no store is set.
  func contentsIfSet(_ source: SettingsReader, isNew: Bool, logger: Logger) throws -> ImageContents? {
    let directory = try source.text(PlaneSetting.imageStore, imageStore)
    let bucket = try source.text(PlaneSetting.imageS3Bucket, imageS3Bucket)
    switch (directory, bucket) {
    case (nil, nil): return nil
    case (let directory?, nil):
      return try ImageContents(directory: directory, isNew: isNew, inspector: Self.inspector)
    case (nil, let bucket?): return try s3(bucket, source, logger)
    case (_?, _?):
      throw ValidationError(
        "both --\(PlaneSetting.imageStore.name) and --\(PlaneSetting.imageS3Bucket.name) are set; images are in one place"
      )
    }
  }

  private func s3(_ bucket: String, _ source: SettingsReader, _ logger: Logger) throws -> ImageContents {
    let defaults = S3Configuration(
      endpoint: try source.required(
        PlaneSetting.imageS3Endpoint, imageS3Endpoint, example: "https://s3.eu-central-1.amazonaws.com"),
      bucket: bucket)
    var configuration = defaults
    configuration.region = try source.text(PlaneSetting.imageS3Region, imageS3Region) ?? defaults.region
    configuration.addressing =
      try source.choice(PlaneSetting.imageS3Addressing, imageS3Addressing) ?? defaults.addressing
    configuration.keyPrefix = try source.text(PlaneSetting.imageS3Prefix, imageS3Prefix) ?? ""
    let roots = try source.text(PlaneSetting.imageS3CACert, imageS3CACert)
    let http = HTTPClient(
      configuration: HTTPClientConfiguration(trustRoots: roots.map { .file($0) } ?? .system, userAgent: "Aloft"),
      logger: logger)
    let store = try S3Store(
      configuration: configuration, credentials: try credentials(source), http: http, logger: logger)
    return ImageContents(
      store: store, inspector: Self.inspector,
      scratch: try source.text(PlaneSetting.imageScratch, imageScratch) ?? "/var/tmp")
  }

  /// The key's two parts: lines of a file, or environment variables. Command lines are read by too many.
  private func credentials(_ source: SettingsReader) throws -> S3Credentials {
    if let path = try source.text(PlaneSetting.imageS3KeyFile, imageS3KeyFile) {
      guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
        throw ValidationError("\(path), which should hold the key of the image store, cannot be read")
      }
      let lines = text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
      guard lines.count == 2 || lines.count == 3 else {
        throw ValidationError(
          "\(path) must have two lines, the access key's id and the secret key; a session token may follow")
      }
      return S3Credentials(
        accessKeyID: lines[0], secretAccessKey: lines[1], sessionToken: lines.count == 3 ? lines[2] : nil)
    }
    guard let id = try source.text(PlaneSetting.imageS3AccessKey, nil),
      let secret = try source.text(PlaneSetting.imageS3SecretKey, nil)
    else {
      throw ValidationError(
        "say with --\(PlaneSetting.imageS3KeyFile.name), or \(PlaneSetting.imageS3AccessKey.variable) and \(PlaneSetting.imageS3SecretKey.variable) in the environment, what the image store is used with"
      )
    }
    return S3Credentials(accessKeyID: id, secretAccessKey: secret)
  }

  /// The program beside this one.
  private static var inspectorPath: String {
    URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
      .appendingPathComponent("aloft-inspect").path
  }

  private static var inspector: ConfinedInspector { ConfinedInspector(program: inspectorPath) }
}
