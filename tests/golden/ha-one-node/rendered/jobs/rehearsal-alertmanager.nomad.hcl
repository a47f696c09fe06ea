job "rehearsal-alertmanager" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "alertmanager" {
    count = 5

    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "1m5s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "2s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {}
      port "cluster" {}
    }

    service {
      name     = "alertmanager"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "rehearsal"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/-/ready"
        interval = "1s"
        timeout  = "2s"
      }
    }

    service {
      name     = "alertmanager-cluster"
      provider = "consul"
      port     = "cluster"
      tags     = []

      meta {
        obsctl_stack    = "rehearsal"
        nomad_namespace = "default"
      }
    }

    task "alertmanager" {
      kill_timeout = "20s"

      template {
        destination = "local/alertmanager.yml"
        data        = "{{ key \"obsctl/rehearsal/config/alertmanager.yml\" }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      # Alertmanager reads this file at every notification, so it follows alert-sink wherever that runs.
      template {
        destination = "local/alert-sink.url"
        change_mode = "noop"
        data        = <<-EOT
        {{- range service "alert-sink" }}{{ if eq (index .ServiceMeta "obsctl_stack") "rehearsal" -}}
        http://{{ .Address }}:{{ .Port }}/webhook{{ break }}
        {{- end }}{{ end }}
        EOT
      }

      # Read at the start alone. It waits for its own entry in Consul, so that of two that start together at least one
      # knows the other; gossip tells the rest. The key is never there: it is what there is to wait with.
      template {
        destination = "local/peers.args"
        change_mode = "noop"
        data        = <<-EOT
        {{- $registered := false }}
        {{- range service "alertmanager-cluster" }}{{ if eq (index .ServiceMeta "obsctl_stack") "rehearsal" }}
        {{- $peer := printf "%s:%d" .Address .Port }}
        {{- if eq $peer (env "NOMAD_ADDR_cluster") }}{{ $registered = true }}{{ else }}
        --cluster.peer={{ $peer }}
        {{- end }}{{ end }}{{ end }}
        {{- if not $registered }}{{ key "obsctl/rehearsal/wait/alertmanager-cluster" }}{{ end }}
        EOT
      }

      driver = "raw_exec"

      config {
        command = "alertmanager"
        args = [
          "--config.file=${NOMAD_TASK_DIR}/alertmanager.yml",
          "--storage.path=${meta.obsctl_volumes}/rehearsal-alertmanager/${NOMAD_ALLOC_INDEX}",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--web.external-url=http://${NOMAD_ADDR_http}/",
          "--cluster.listen-address=${NOMAD_ADDR_cluster}",
          "--cluster.advertise-address=${NOMAD_ADDR_cluster}",
          "--cluster.label=rehearsal",
          "--cluster.peer-timeout=1s",
          "--dispatch.start-delay=1m",
          "@${NOMAD_TASK_DIR}/peers.args",
        ]
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
