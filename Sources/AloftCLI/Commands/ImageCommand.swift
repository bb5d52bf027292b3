import ArgumentParser
import JSON

/// `aloft image`
struct ImageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "image", abstract: "Images, which boot disks are cloned from.",
    subcommands: [
      List.self, ShowCommand<ImageNoun>.self, Create.self, Upload.self, Fetch.self, Capture.self, CancelFetch.self,
      Download.self,
      Share.self, Unshare.self, Publish.self, Deprecate.self, Delete.self, RenameCommand<ImageNoun>.self,
      LabelCommand<ImageNoun>.self,
    ])

  /// `aloft image list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List images.")

    @Option(help: "Keep those that may be used so: private, shared or public.")
    var visibility: String?

    @Option(help: "Keep those of this project, by id or name.")
    var owner: String?

    @Flag(help: "Show also those that are not recommended any more.")
    var deprecated = false

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var filter = [("visibility", visibility), ("owner", owner)].compactMap { name, value in value.map { (name, $0) } }
      if deprecated { filter.append(("include_deprecated", "true")) }
      let items = try await session.api.items(
        APIPath.path("images"), query: session.query(project) + labels.query + filter, limit: list.limit)
      try await session.printer.list(items, as: .image)
    }
  }

  /// `aloft image create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Announce an image.", discussion: "`aloft image upload` announces it and uploads its content.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: ArgumentHelp("The SHA-256 that its content must have.", valueName: "hex"))
    var sha256: String?

    @OptionGroup var details: DetailOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(
        .post, APIPath.path("images"), query: session.query(project, dryRun: dryRun),
        body: details.body(name: name, sha256: sha256), key: session.key(key))
      try await session.printer.changed([try await session.api.send(call).json], as: .image)
    }
  }

  /// `aloft image delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete images.")

    @Argument(help: "The images, by id or name.")
    var names: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("image", names, query: session.query(project, dryRun: dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("images", $0)
      }
    }
  }

  /// What an image is announced with.
  struct DetailOptions: ParsableArguments {
    @Option(help: "The CPU architecture [the server's default: x86_64].")
    var architecture: String?

    @Option(help: "What starts it: bios or uefi.")
    var firmware: String?

    @Option(help: ArgumentHelp("The smallest disk that may be made from it, in GiB.", valueName: "gib"))
    var minDisk: Int?

    @Option(help: ArgumentHelp("The least memory of virtual machines that are made from it.", valueName: "size"))
    var minMemory: MemorySize?

    @Option(help: "Who logs in to a fresh guest.")
    var defaultUser: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("A label. Can be repeated.", valueName: "key=value"))
    var label: [LabelPair] = []

    func body(name: String, sha256: String?) -> JSONValue {
      var body: JSONObject = ["name": .string(name)]
      body["sha256"] = sha256.map { .string($0) }
      body["architecture"] = architecture.map { .string($0) }
      body.say("firmware", firmware)
      body.say("min_disk_gib", minDisk)
      body.say("min_memory_mib", minMemory?.mebibytes)
      body.say("default_user", defaultUser)
      if !label.isEmpty { body["labels"] = LabelPair.object(label) }
      return .object(body)
    }
  }
}

extension Session {
  /// Deletes each of `names` and says so.
  func delete(
    _ noun: String, _ names: [String], query: [(String, String)], dryRun: Bool, _ path: (String) -> String
  ) async throws(CommandFailure) {
    var batch = Batch()
    for name in names {
      let call = APICall(.delete, path(name), query: query)
      let done = try await batch.attempt(name, several: names.count > 1, surroundings) {
        () async throws(CommandFailure) in
        try await api.send(call)
      }
      if done != nil { try await printer.deleted(noun, name, dryRun: dryRun) }
    }
    if let failure = batch.firstFailure { throw .alreadyTold(failure.status) }
  }
}
