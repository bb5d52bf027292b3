import AloftModel
import ArgumentParser
import JSON

enum VolumeNoun: ProjectNoun {
  static let collection = "volumes"
  static let word = "volume"
  static let oneWord = "a volume"
  static var presentation: Presentation { .volume }
}

/// `aloft volume`
struct VolumeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "volume", abstract: "Disks of virtual machines.",
    subcommands: [
      List.self, ShowCommand<VolumeNoun>.self, Create.self, Grow.self, Limit.self, Move.self, Attach.self, Detach.self,
      Delete.self, RenameCommand<VolumeNoun>.self, LabelCommand<VolumeNoun>.self,
    ])

  /// `aloft volume list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List volumes.")

    @Option(help: "Keep those of this virtual machine.")
    var vm: String?

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let filter = vm.map { [("vm", $0)] } ?? []
      let items = try await session.api.items(
        APIPath.path("volumes"), query: session.query(project) + labels.query + filter, limit: list.limit)
      try await session.printer.list(items, as: .volume)
    }
  }

  /// What all commands take that a node carries out.
  struct ChangeOptions: ParsableArguments {
    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption

    func changes(_ session: Session, deletes: Bool = false) -> WaitedChanges {
      WaitedChanges(
        session: session, wait: wait, isDryRun: dryRun.dryRun, query: session.query(project), deletes: deletes,
        collection: "volumes", word: VolumeNoun.word, presentation: .volume)
    }

    /// Asks for `verb` of one volume.
    func post(_ verb: String, _ name: String, _ body: JSONObject?, _ key: KeyOption, _ session: Session)
      async throws(CommandFailure)
    {
      let query = session.query(project, dryRun: dryRun)
      try await changes(session).run([name]) { name in
        APICall(
          .post, APIPath.path("volumes", name, verb), query: query, body: body.map { .object($0) },
          key: session.key(key))
      }
    }
  }

  /// `aloft volume create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Create a volume.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: ArgumentHelp("How large it is: 20G; by default as large as the image.", valueName: "size"))
    var size: DiskSize?

    @Option(help: "The image that it is made from [none: it is empty].")
    var image: String?

    @Option(help: "The snapshot that it is a clone of.")
    var snapshot: String?

    @Option(
      help: ArgumentHelp(
        "Which volume of the snapshot, where that is of several; without one, the volume that it is a clone of.",
        valueName: "volume"))
    var of: String?

    @Option(help: "The storage pool [local].")
    var pool: String?

    @Option(help: "The virtual machine that it is for: it is made where that is.")
    var vm: String?

    @Flag(help: "What is written to it is encrypted on its node. A clone is as what it is cloned from.")
    var encrypted = false

    @Option(
      help: ArgumentHelp(
        "An I/O limit, as of `aloft volume limit`. Can be repeated.", valueName: "measure=rate[:burst[:seconds]]"))
    var limit: [IOLimitArgument] = []

    @Option(name: .shortAndLong, help: ArgumentHelp("A label. Can be repeated.", valueName: "key=value"))
    var label: [LabelPair] = []

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if size == nil, image == nil, snapshot == nil, of == nil {
        throw ValidationError("say --size, or --image, --snapshot or --of for one as large as that")
      }
      if limit.contains(where: { $0.limit == nil }) { throw ValidationError("a new volume has no limit to remove") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name)]
      body.say("size_gib", size?.gibibytes)
      body.say("image", image)
      body.say("snapshot", snapshot)
      body.say("volume", of)
      body.say("pool", pool)
      body.say("vm", vm)
      if encrypted { body["encrypted"] = true }
      if !label.isEmpty { body["labels"] = LabelPair.object(label) }
      if !limit.isEmpty { body["io_limits"] = IOLimitArgument.object(limit) }
      let call = APICall(
        .post, APIPath.path("volumes"), query: session.query(options.project, dryRun: options.dryRun),
        body: .object(body), key: session.key(key))
      try await options.changes(session).run([name]) { _ in call }
    }
  }

  /// `aloft volume grow`
  struct Grow: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a volume larger.",
      discussion: "A guest that runs sees the new size at once; its partitions and file systems are its own to grow.")

    @Argument(help: VolumeNoun.nameHelp)
    var name: String

    @Argument(help: "Its new size: 40G.")
    var size: DiskSize

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await options.post("grow", name, ["size_gib": .integer(Int64(size.gibibytes))], key, session)
    }
  }

  /// `aloft volume attach`
  struct Attach: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Attach a volume to a virtual machine.")

    @Argument(help: VolumeNoun.nameHelp)
    var name: String

    @Argument(help: "The virtual machine, by id or name.")
    var vm: String

    @Option(help: "What the guest sees it as: virtio or scsi [virtio].")
    var bus: DiskBus?

    @Option(help: ArgumentHelp("Boot from it; the lowest number counts.", valueName: "number"))
    var bootIndex: Int?

    @Flag(help: "Delete it with the virtual machine.")
    var deleteWithVM = false

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["vm": .string(vm)]
      body.say("bus", bus?.rawValue)
      body.say("boot_index", bootIndex)
      if deleteWithVM { body["delete_with_vm"] = .bool(true) }
      try await options.post("attach", name, body, key, session)
    }
  }

  /// `aloft volume detach`
  struct Detach: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Detach a volume from its virtual machine.")

    @Argument(help: VolumeNoun.nameHelp)
    var name: String

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await options.post("detach", name, nil, key, session)
    }
  }

  /// `aloft volume delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete volumes, and what is on them.")

    @Argument(help: "The volumes, by id or name.")
    var names: [String]

    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = session.query(options.project, dryRun: options.dryRun)
      try await options.changes(session, deletes: true).run(names) {
        APICall(.delete, VolumeNoun.path($0), query: query)
      }
    }
  }
}

extension DiskBus: ExpressibleByArgument {}

extension Presentation {
  static let volume = Presentation(
    columns: [
      .member("NAME", "name"), .state("STATE", "state"), .gibibytes("SIZE", "size_gib"), .bytes("USED", "used_bytes"),
      .member("POOL", "pool"), .member("NODE", "node"), .member("VM", "vm_id"), .age("AGE", "created_at"),
    ], nameMember: "name")
}
