module "ports" {
  source = "../.."

  nodes = var.nodes
  cidrs = var.cidrs
}

# For a provisioner to copy to each node: /etc/nftables.d/obsctl.nft, loaded by nft -f.
resource "local_file" "ruleset" {
  filename        = "build/obsctl.nft"
  content         = module.ports.ruleset
  file_permission = "0644"
}
