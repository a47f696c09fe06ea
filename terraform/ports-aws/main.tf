locals {
  # One for each program and network, and for each program and node.
  openings = { for pair in setproduct(keys(var.programs), var.cidrs) : "${pair[0]} ${pair[1]}" => { program = pair[0], cidr = pair[1] } }
  targets  = { for pair in setproduct(keys(var.programs), var.nodes) : "${pair[0]} ${pair[1]}" => { program = pair[0], node = pair[1] } }
}

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-load-balancer"
  description = "Who reaches the pages of the observability stack"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "people" {
  for_each = local.openings

  security_group_id = aws_security_group.load_balancer.id
  description       = each.value.program
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = var.programs[each.value.program].port
  to_port           = var.programs[each.value.program].port
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "to_nodes" {
  for_each = var.programs

  security_group_id            = aws_security_group.load_balancer.id
  description                  = each.key
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "nodes" {
  for_each = var.programs

  security_group_id            = var.node_security_group_id
  description                  = "${each.key} for the load balancer ${var.name}"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = var.tags
}

resource "aws_lb" "this" {
  name                       = var.name
  internal                   = var.internal
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.load_balancer.id]
  subnets                    = var.subnet_ids
  drop_invalid_header_fields = true
  tags                       = var.tags
}

resource "aws_lb_target_group" "program" {
  for_each = var.programs

  name        = "${var.name}-${each.key}"
  vpc_id      = var.vpc_id
  target_type = "ip"
  protocol    = "HTTP"
  port        = each.value.port
  tags        = var.tags

  health_check {
    path     = each.value.health_path
    interval = 10
    matcher  = "200"
  }
}

resource "aws_lb_target_group_attachment" "node" {
  for_each = local.targets

  target_group_arn = aws_lb_target_group.program[each.value.program].arn
  target_id        = each.value.node
  port             = var.programs[each.value.program].port
}

resource "aws_lb_listener" "https" {
  for_each = var.programs

  load_balancer_arn = aws_lb.this.arn
  port              = each.value.port
  protocol          = "HTTPS"
  ssl_policy        = var.ssl_policy
  certificate_arn   = var.certificate_arn
  tags              = var.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.program[each.key].arn
  }
}
