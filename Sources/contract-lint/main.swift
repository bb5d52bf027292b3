// Prints what is wrong with an OpenAPI document, one finding per line, and exits 1 if there is anything but warnings.

import Contract
import Glibc

let arguments = CommandLine.arguments.dropFirst()
guard let file = arguments.first(where: { !$0.hasPrefix("-") }) else {
  print("usage: contract-lint [--warnings-are-errors] openapi/aloft.yaml")
  exit(2)
}
do throws(ContractError) {
  let contract = try Contract.load(file: file)
  let findings = contract.lint()
  for finding in findings { print(finding) }
  print("\(contract.operations.count) operations, \(findings.count) findings")
  let strict = arguments.contains("--warnings-are-errors")
  exit(findings.contains { strict || $0.severity == .error } ? 1 : 0)
} catch {
  print(error)
  exit(1)
}
