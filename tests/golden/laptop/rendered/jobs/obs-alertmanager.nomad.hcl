job "obs-alertmanager" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "alertmanager" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "2s"
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
      port "http" {
        static = 9093
      }
    }

    service {
      name     = "alertmanager"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/-/ready"
        interval = "1s"
        timeout  = "2s"
      }
    }

    task "alertmanager" {
      kill_timeout = "20s"

      template {
        destination = "local/alertmanager.yml"
        data        = "{{ key \"obsctl/obs/config/alertmanager.yml\" }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      # Alertmanager reads this file at every notification, so it follows alert-sink wherever that runs, and nobody who
      # poses as alert-sink but cannot prove that it has the secret (see alert-sink's job). The secret by
      # which alert-sink knows it stands as a password: Go sends that as a header, and keeps it out of logs.
      template {
        destination = "secrets/alert-sink.url"
        change_mode = "noop"
        perms       = "0400"
        data        = <<-EOT
        {{- with nomadVar "nomad/jobs/obs-alertmanager" }}{{ $secret := .delivery_key }}
        {{- range service "alert-sink" }}{{ $address := printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}
        {{- $allocation := .ID | regexReplaceAll "^_nomad-task-(.{36})-.*$" "$1" }}
        {{- $proof := printf "%s %s %s" $allocation $address $secret | sha256Hex }}
        {{- if eq (index .ServiceMeta "obsctl_proof") $proof -}}
        http://alertmanager:{{ $secret }}@{{ $address }}/webhook{{ break }}
        {{- end }}{{ end }}{{ end }}
        EOT
      }

      driver = "raw_exec"

      config {
        command = "alertmanager"
        args = [
          "--config.file=${NOMAD_TASK_DIR}/alertmanager.yml",
          "--storage.path=${meta.obsctl_volumes}/obs-alertmanager",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--web.external-url=http://${NOMAD_ADDR_http}/",
          "--enable-feature=receiver-name-in-metrics",
          "--cluster.listen-address=",
        ]
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
