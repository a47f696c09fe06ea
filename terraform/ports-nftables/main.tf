locals {
  ruleset = templatefile("${path.module}/ruleset.nft.tftpl", {
    table  = var.table
    nodes  = join(", ", var.nodes)
    cidrs  = join(", ", var.cidrs)
    ports  = join(", ", sort([for port in distinct(values(var.ports)) : tostring(port)]))
    names  = join(", ", [for name, port in var.ports : "${name} ${port}"])
    closed = join(", ", var.closed_ports)
    own    = join(", ", [for name in concat(["lo"], var.task_interfaces) : "\"${name}\""])
  })
}
