/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of the STM32L432/L433 that this program uses. Sections are those
 * of ST's reference manual RM0394 (revision 4); base addresses are in its section
 * 2.2.2. The registers of the core are in the ARMv7-M Architecture Reference
 * Manual (ARM DDI 0403E).
 */
#ifndef STM32L4_H
#define STM32L4_H

#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(address))

/* Reset and clock control, section 6.4 */
#define RCC_CR        REG(0x40021000)
#define RCC_CFGR      REG(0x40021008)
#define RCC_APB1RSTR1 REG(0x40021038)
#define RCC_APB2RSTR  REG(0x40021040)
#define RCC_AHB2ENR   REG(0x4002104c)
#define RCC_APB1ENR1  REG(0x40021058)
#define RCC_APB2ENR   REG(0x40021060)
#define RCC_CCIPR     REG(0x40021088)
#define RCC_CSR       REG(0x40021094)
#define RCC_MSION     (1u << 0)  /* CR */
#define RCC_MSIRDY    (1u << 1)
#define RCC_MSIRGSEL  (1u << 3)  /* the range is the one in CR */
#define RCC_MSIRANGE  (15u << 4)
#define RCC_MSIRANGE_4MHZ (6u << 4)
#define RCC_SWS       (3u << 2)  /* CFGR: system clock in use, 0 is MSI */
#define RCC_GPIOA     (1u << 0)  /* AHB2 */
#define RCC_TIM2      (1u << 0)  /* APB1 */
#define RCC_USART1    (1u << 14) /* APB2 */
#define RCC_USART1SEL (3u << 0)  /* CCIPR */
#define RCC_RMVF      (1u << 23) /* CSR: clears the reset flags in bits 24 to 31 */

/* Port A, section 8.4 */
#define GPIOA_MODER REG(0x48000000)
#define GPIOA_PUPDR REG(0x4800000c)
#define GPIOA_IDR   REG(0x48000010)
#define GPIOA_AFRL  REG(0x48000020)
#define GPIOA_AFRH  REG(0x48000024)

/* Timer 2, section 27.4 */
#define TIM2_CR1   REG(0x40000000)
#define TIM2_EGR   REG(0x40000014)
#define TIM2_CCMR1 REG(0x40000018)
#define TIM2_CCER  REG(0x40000020)
#define TIM2_PSC   REG(0x40000028)
#define TIM2_ARR   REG(0x4000002c)
#define TIM2_CCR1  REG(0x40000034)

/* Independent watchdog, section 32.4 */
#define IWDG_KR  REG(0x40003000)
#define IWDG_PR  REG(0x40003004)
#define IWDG_RLR REG(0x40003008)
#define IWDG_SR  REG(0x4000300c)

/* USART 1, section 38.8 */
#define USART1_CR1   REG(0x40013800)
#define USART1_BRR   REG(0x4001380c)
#define USART1_ISR   REG(0x4001381c)
#define USART1_ICR   REG(0x40013820)
#define USART1_RDR   REG(0x40013824)
#define USART1_TDR   REG(0x40013828)
#define USART_UE     (1u << 0)
#define USART_RE     (1u << 2)
#define USART_TE     (1u << 3)
#define USART_RXNEIE (1u << 5)
#define USART_ERRORS 0xfu /* ICR: parity, framing, noise, overrun */
#define USART_RXNE   (1u << 5)
#define USART_TC     (1u << 6)
#define USART_TXE    (1u << 7)

/* Interrupts, section 12.3 */
#define INTERRUPTS 83
#define USART1_IRQ 37

/* Core: SysTick, interrupt enable, system control */
#define SYST_CSR   REG(0xe000e010)
#define SYST_RVR   REG(0xe000e014)
#define SYST_CVR   REG(0xe000e018)
#define NVIC_ISER1 REG(0xe000e104)
#define SCB_VTOR   REG(0xe000ed08)
#define SCB_AIRCR  REG(0xe000ed0c)
#define AIRCR_SYSRESETREQ 0x05fa0004u

#endif
